-- Says which configuration a worker has loaded (`generation`, set by the container's entry point): a line with its
-- hash, the kind of worker and the process id in the file `loaded`.
--
-- And two rules that hold whatever the scores are:
-- * A message larger than options.max_message is refused with a reply that names the limit. (rspamd itself only stops
--   reading it, and goes on to judge what it read.)
-- * A message that is about to be accepted must have been scanned, and without a finding. Without this, anything that
--   keeps the antivirus rule from running, a missing antivirus.conf too, lets the message through, and so does raw text
--   that accepts the mail of some senders.
--
-- Section `mailfilter` of the configuration: require_scan = false switches the second rule off.

if confighelp then
  return
end

local N = 'mailfilter'
local rspamd_logger = require 'rspamd_logger'

local settings = rspamd_config:get_all_opt(N) or {}
local options = rspamd_config:get_all_opt('options') or {}
local limit = tonumber(options.max_message)

if limit and limit > 0 then
  local text = string.format('Message larger than %.15g MiB', math.floor(limit / 1048576 * 100) / 100)
  rspamd_config:register_symbol({
    name = 'MAILFILTER_OVERSIZE',
    type = 'prefilter',
    priority = 10,
    group = N,
    flags = 'empty,explicit_disable',
    callback = function(task)
      if task:get_size() > limit then
        rspamd_logger.infox(task, 'message of %s bytes is larger than max_message %s', task:get_size(), limit)
        task:set_pre_result('reject', text, N)
      end
    end,
  })
end

if settings.generation then
  rspamd_config:add_on_load(function(_, _, worker)
    local path = settings.loaded or '/run/mailfilter/loaded'
    local file, why = io.open(path, 'a')
    if not file then
      rspamd_logger.errx(rspamd_config, 'cannot write %s: %s', path, why)
      return
    end
    -- One write: the lines of several workers must not be mixed.
    file:write(string.format('%s %s %s\n', settings.generation, worker:get_name(), worker:get_pid()))
    file:close()
  end)
end

-- The name of what was found, as force_actions writes it.
local function found(symbols)
  return 'Virus found: ' .. table.concat((symbols[1] or {}).options or {}, ', ')
end

-- Against whatever else has decided.
local function decide(task, action, message)
  task:set_pre_result({ action = action, message = message, module = N, priority = 1000 })
end

local refusing = { reject = true, ['soft reject'] = true, discard = true }

if settings.require_scan ~= false then
  -- Of the last kind that runs, after all that can decide otherwise. In no group, so that none that is switched off for
  -- some mail takes it along.
  rspamd_config:register_symbol({
    name = 'MAILFILTER_UNSCANNED',
    type = 'idempotent',
    flags = 'empty,explicit_disable,ignore_passthrough',
    callback = function(task)
      local action = task:get_metric_action()
      local virus = task:get_symbol('CLAM_VIRUS')
      -- Set by clamav.lua (see the patch to it) when clamd answered "stream: OK".
      local clean = not virus and task:cache_get('clamav_clean') == true
      if virus and action ~= 'reject' and action ~= 'discard' then
        decide(task, 'reject', found(virus))
      elseif clean and task:cache_get('accepted_by_settings') then
        decide(task, 'no action', 'accepted by settings')
      elseif not clean and not virus and not refusing[action] then
        rspamd_logger.errx(task, 'no answer of ClamAV to this message')
        decide(task, 'soft reject', 'Virus scan failed, try again later')
      end
    end,
  })
end
