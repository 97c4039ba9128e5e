-- What a user's settings (settings.lua, see the patch to it) may do to a mail, and what they may not: keep it from being
-- scanned, or from being refused for a virus. rspamd itself stops at once for a mail that is whitelisted.

local NEVER = 1e9

-- Actions that a mail can get for what its scan has found.
local virus_actions = {
  ['add header'] = true,
  ['soft reject'] = true,
  discard = true,
  quarantine = true,
  reject = true,
}

-- Flags of a mail that leave its scan alone. What is not listed, a flag that a later rspamd has too, is left out.
local harmless = {
  bad_unicode = true,
  broken_headers = true,
  extended_urls = true,
  greylisted = true,
  learn_ham = true,
  learn_spam = true,
  message_rewrite = true,
  no_log = true,
  no_stat = true,
  pass_all = true,
}

-- The harmless ones of these flags, and whether there is one that says that the mail is not to be judged.
local function sort_flags(flags)
  local kept, skips = {}, false
  for _, flag in pairs(flags) do
    if harmless[flag] then
      kept[#kept + 1] = flag
    end
    skips = skips or flag == 'skip' or flag == 'skip_process'
  end
  return kept, skips
end

-- Changes the settings that are about to be applied: a mail that is whitelisted or skipped is accepted whatever its
-- score is, but like any other it is scanned; without a score to be rejected from, it can still be rejected for a virus.
local function keep_scanned(task, apply)
  local skips = false
  if type(apply.flags) == 'table' then
    apply.flags, skips = sort_flags(apply.flags)
  end
  if skips or apply.whitelist then
    apply.whitelist = nil
    -- The same table is used for the next mail.
    apply.accepted = true
  end
  if apply.accepted then
    -- For mailfilter.lua: decided now, it would keep the mail from being scanned.
    task:cache_set('accepted_by_settings', true)
  end
  if type(apply.actions) == 'table' then
    for name, score in pairs(apply.actions) do
      if virus_actions[tostring(name):gsub('_', ' ')] and not tonumber(score) then
        apply.actions[name] = NEVER
      end
    end
  end
end

return { keep_scanned = keep_scanned }
