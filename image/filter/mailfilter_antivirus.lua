-- What has to become of a mail by the outcome of its virus scan, whatever else decides.
--
-- The section `antivirus` of mailfilter.conf has a policy for each outcome but a good one: virus, unofficial (a signature
-- that is not ClamAV's own), failure, limits, encrypted, macros. What it does not say is as strict as it can be.
--
-- The outcome is what clamd has answered (clamav.lua notes it, see the patch to it). Symbols are not asked: raw text
-- could set one of their names.

local DEFAULTS = {
  virus = 'Reject',
  unofficial = 'Reject',
  failure = 'TempFail',
  limits = 'TempFail',
  encrypted = 'TempFail',
  macros = 'TempFail',
}

local TRY_AGAIN = 'Virus scan failed, try again later'
local REFUSALS = {
  virus = 'Virus found',
  unofficial = 'Virus found',
  limits = 'Too much to scan',
  encrypted = 'Encrypted content',
  macros = 'Macros found',
}

-- The action of a policy, and all that do at least as much.
local ACTIONS = {
  Reject = { 'reject', 'discard' },
  Discard = { 'discard', 'reject' },
  TempFail = { 'soft reject', 'reject', 'discard' },
  Quarantine = { 'quarantine', 'soft reject', 'reject', 'discard' },
  AddHeader = { 'add header', 'rewrite subject', 'quarantine', 'soft reject', 'reject', 'discard' },
}

-- The kind of what clamd has found, by its name.
local function kind_of(name)
  -- First of all: not every database is signed, and each may call what it finds as it likes.
  if name:find('%.UNOFFICIAL$') and not name:find('^MailFilter%.Builtin%.') then
    return 'unofficial'
  elseif name:find('^Heuristics%.Encrypted') then
    return 'encrypted'
  elseif name:find('^Heuristics%.OLE2%.ContainsMacros') then
    return 'macros'
  elseif name:find('^Heuristics%.Limits%.Exceeded') then
    return 'limits'
  end
  return 'virus'
end

-- "clean", the kind of what was found with its name, "failure", or nil if clamd was not asked at all: that is nobody's
-- policy.
local function outcome(task)
  local answer = task:cache_get('clamav_answer')
  if answer == 'stream: OK' then
    return 'clean'
  end
  local name = answer and answer:match('^stream: (.+) FOUND$')
  if name then
    -- It goes into replies and headers, and not every database is signed.
    return kind_of(name), (name:gsub('[^%w%p]', '_'))
  end
  return task:cache_get('clamav_asked') and 'failure' or nil
end

-- What the header of a mail that is accepted all the same says of it.
local function describe(kind, name)
  if not name then
    return 'Not Scanned'
  elseif kind == 'virus' or kind == 'unofficial' then
    return string.format('Infected (%s)', name)
  end
  return string.format('Suspicious (%s)', name)
end

local function includes(list, wanted)
  for _, item in ipairs(list) do
    if item == wanted then
      return true
    end
  end
  return false
end

-- Reads the section; returns a function of a mail and the action that it is about to get. That returns the action that
-- it has to get, with the text for the sender if it is another one, and what its header has to say if it is accepted.
local function judge(section)
  local policies = {}
  for kind, policy in pairs(DEFAULTS) do
    policies[kind] = section and section[kind] or policy
  end
  return function(task, action)
    local kind, name = outcome(task)
    local policy = kind and policies[kind] or 'TempFail'
    if kind == 'clean' then
      return action
    elseif policy == 'Accept' then
      return action, nil, kind == 'failure' and describe(kind) or nil
    end
    local enough = ACTIONS[policy] or ACTIONS.Reject
    if includes(enough, action) then
      return action, nil, describe(kind, name)
    end
    local text = name and string.format('%s: %s', REFUSALS[kind], name)
    return enough[1], policy == 'TempFail' and TRY_AGAIN or text, describe(kind, name)
  end
end

return { judge = judge }
