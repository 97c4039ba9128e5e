-- What a user's settings (settings.lua, see the patch to it) may do to a mail, and what they may not: keep it from being
-- scanned, or from being refused for a virus. rspamd itself stops at once for a mail that is whitelisted.

local NEVER = 1e9

local function drop_skip(flags)
  for index = #flags, 1, -1 do
    if flags[index] == 'skip' then
      table.remove(flags, index)
      return true
    end
  end
  return false
end

-- Changes the settings that are about to be applied: a mail that is whitelisted or skipped is accepted whatever its
-- score is, but like any other it is scanned; without a score to be rejected from, it can still be rejected for a virus.
local function keep_scanned(task, apply)
  if type(apply.flags) == 'table' and drop_skip(apply.flags) or apply.whitelist then
    apply.whitelist = nil
    -- The same table is used for the next mail.
    apply.accepted = true
  end
  if apply.accepted then
    -- For mailfilter.lua: decided now, it would keep the mail from being scanned.
    task:cache_set('accepted_by_settings', true)
  end
  if type(apply.actions) == 'table' then
    for _, action in ipairs({ 'reject', 'soft reject' }) do
      if apply.actions[action] ~= nil and not tonumber(apply.actions[action]) then
        apply.actions[action] = NEVER
      end
    end
  end
end

return { keep_scanned = keep_scanned }
