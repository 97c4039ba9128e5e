-- Says which configuration a worker has loaded (`generation`, set by the container's entry point): a line with its
-- hash, the kind of worker and the process id in the file `loaded`.
--
-- And two rules that hold whatever the scores are:
-- * A message larger than options.max_message is refused with a reply that names the limit. (rspamd itself only stops
--   reading it, and goes on to judge what it read.)
-- * A message that is about to be accepted must have been scanned: ClamAV has answered "OK" or a finding of its own
--   decided. Without this, anything that keeps the antivirus rule from running, a missing antivirus.conf too, lets the
--   message through.
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

if settings.require_scan ~= false then
  rspamd_config:register_symbol({
    name = 'MAILFILTER_UNSCANNED',
    type = 'postfilter',
    priority = 10,
    group = N,
    flags = 'empty,explicit_disable,ignore_passthrough',
    callback = function(task)
      local action = task:get_metric_action()
      if action == 'reject' or action == 'soft reject' then
        return
      end
      -- Set by clamav.lua (see the patch to it) when clamd answered "stream: OK".
      if task:cache_get('clamav_clean') ~= true and not task:has_symbol('CLAM_VIRUS') then
        rspamd_logger.errx(task, 'no answer of ClamAV to this message')
        task:set_pre_result('soft reject', 'Virus scan failed, try again later', N)
      end
    end,
  })
end
