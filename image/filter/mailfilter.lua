-- Says which configuration a worker has loaded (`generation`): a line with its hash, the kind of worker and the process
-- id in the file `loaded`.
--
-- And three rules that hold whatever the scores are:
-- * A message larger than options.max_message is refused with a reply that names the limit. (rspamd itself only stops
--   reading it, and goes on to judge what it read.)
-- * A message that is about to be accepted must have been scanned, and with a finding it gets what the policy for that
--   says (mailfilter_antivirus.lua). Without this, anything that keeps the antivirus rule from running, a missing
--   antivirus.conf too, lets the message through, and so does raw text that accepts the mail of some senders.
-- * A message that is about to be accepted is signed with DKIM if it has to be (mailfilter_signing.lua), and is not
--   accepted without. It is done here and not by rspamd's module dkim_signing, which lets mail pass that it cannot
--   sign, and which settings of some senders can switch off.
--
-- Nothing switches them off: there is no option for that, and the names of both symbols end in digits drawn at each
-- start, so that no setting, group or score can name them.
--
-- Section `mailfilter` of the configuration: from the entry point `generation`, and `loaded`, the path of that file;
-- from the operator `antivirus` and `signing`.

if confighelp then
  return
end

local N = 'mailfilter'
local rspamd_logger = require 'rspamd_logger'
local unguessable = require('rspamd_util').random_hex(32)

local settings = rspamd_config:get_all_opt(N) or {}
local options = rspamd_config:get_all_opt('options') or {}
local judge = require('mailfilter_antivirus').judge(settings.antivirus)
local sign = require('mailfilter_signing').signer(settings.signing)
local limit = tonumber(options.max_message)

local too_large
if limit and limit > 0 then
  too_large = string.format('Message larger than %.15g MiB', math.floor(limit / 1048576 * 100) / 100)
  rspamd_config:register_symbol({
    name = 'MAILFILTER_OVERSIZE_' .. unguessable,
    type = 'prefilter',
    priority = 10,
    group = N,
    flags = 'empty,explicit_disable',
    callback = function(task)
      if task:get_size() > limit then
        rspamd_logger.infox(task, 'message of %s bytes is larger than max_message %s', task:get_size(), limit)
        task:cache_set('oversize', true)
        task:set_pre_result('reject', too_large, N)
      end
    end,
  })
end

-- Said by the worker's event loop, when it takes connections: all else that loads with the configuration has been
-- loaded then.
local function say_loaded(worker)
  local path = settings.loaded or '/run/mailfilter/loaded'
  local file, why = io.open(path, 'a')
  if not file then
    rspamd_logger.errx(rspamd_config, 'cannot write %s: %s', path, why)
    return
  end
  -- One write: the lines of several workers must not be mixed. (It reaches the file when that is closed.)
  file:write(string.format('%s %s %s\n', settings.generation, worker:get_name(), worker:get_pid()))
  local written, reason = file:close()
  if not written then
    rspamd_logger.errx(rspamd_config, 'cannot write %s: %s', path, reason)
  end
end

if settings.generation then
  rspamd_config:add_on_load(function(_, loop, worker)
    rspamd_config:add_periodic(loop, 0.0, function()
      say_loaded(worker)
      return false
    end)
  end)
end

local refusing = { reject = true, ['soft reject'] = true, discard = true }

-- Replaces what the mail says of its scan: it may be about another one, or a lie.
local function add_header(task, value)
  task:set_milter_reply({
    remove_headers = { ['X-Virus-Status'] = 0 },
    add_headers = { ['X-Virus-Status'] = { order = 1, value = value } },
  })
end

-- Of the last kind that runs, after all that can decide otherwise. In no group, so that none that is switched off for
-- some mail takes it along.
rspamd_config:register_symbol({
  name = 'MAILFILTER_UNSCANNED_' .. unguessable,
  type = 'idempotent',
  flags = 'empty,explicit_disable,ignore_passthrough',
  callback = function(task)
    local before = task:get_metric_action()
    if task:cache_get('oversize') then
      -- Only its beginning was read.
      if before ~= 'reject' and before ~= 'discard' then
        task:set_pre_result({ action = 'reject', message = too_large, module = N, priority = 1000 })
      end
      return
    end
    -- What was refused before its scan stays refused.
    local accepted = task:cache_get('accepted_by_settings')
      and (task:cache_get('clamav_asked') or not refusing[before])
    local action, text, header = judge(task, accepted and 'no action' or before)
    if not refusing[action] then
      local complete, signed = sign(task)
      if not complete then
        action, text = 'soft reject', 'DKIM signing failed, try again later'
      elseif signed and action == 'rewrite subject' then
        -- Another subject would break the signature, which is of this one.
        action, text = 'add header', 'signed as it is'
      end
    end
    if accepted or action ~= before then
      -- Against whatever else has decided. (A trial looks for mail that is accepted for no score of its own.)
      task:set_pre_result({ action = action, message = text or 'accepted by settings', module = N, priority = 1000 })
    end
    if header and not refusing[action] then
      rspamd_logger.warnx(task, 'accepted or held, virus scan: %s', header)
      add_header(task, header)
    end
  end,
})
