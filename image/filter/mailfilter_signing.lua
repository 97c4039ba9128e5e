-- Which mail is signed, and its signatures. What says that a mail is to be signed is also what signs it: the guard that
-- holds back unsigned mail has no other opinion of it.
--
-- The section `signing` of mailfilter.conf:
--   authenticated, local, subdomains: booleans; networks: list; any_username: boolean
--   envelope_mismatch: "Never", "Networks" or "Always"
--   domain: signing domain -> list of { selector, path }
-- Without it nothing is signed.

local rspamd_logger = require 'rspamd_logger'
local lua_maps = require 'lua_maps'

-- The domain of an address as rspamd has read it, in lower case; nil if it has none.
local function domain_of(address)
  local domain = address and address.domain
  return domain and domain ~= '' and domain:lower() or nil
end

-- The domain of From; nil unless there is one address: with several, DKIM cannot say whose mail it is.
local function author_domain(task)
  local from = task:get_from('mime') or {}
  return #from == 1 and domain_of(from[1]) or nil
end

-- Whether the envelope's sender has this domain, or is empty as that of bounces.
local function same_envelope(task, domain)
  local sender = (task:get_from('smtp') or {})[1]
  return not sender or (sender.addr or '') == '' or domain_of(sender) == domain
end

-- Whether who has sent the mail may have it signed, whose From is in this domain.
local function may_sign(rules, task, domain)
  local user, ip = task:get_user(), task:get_from_ip()
  if user and user ~= '' then
    return rules.authenticated
      and (rules.any_username or (user:match('.*@(.*)') or ''):lower() == domain)
      and (rules.envelope_mismatch == 'Always' or same_envelope(task, domain))
  end
  local own = ip and ip:is_valid()
    and (rules.networks and rules.networks:get_key(ip) or rules['local'] and ip:is_local())
  return own and (rules.envelope_mismatch ~= 'Never' or same_envelope(task, domain))
end

-- The listed domain that signs for this one.
local function signing_domain(rules, domain)
  while domain and not rules.domain[domain] do
    domain = rules.subdomains and domain:match('^[^.]*%.(.+)$') or nil
  end
  return domain
end

-- Whether the mail has got a signature of this key.
local function sign_with(task, domain, key)
  local ran, signed = pcall(function()
    return (rspamd_plugins.dkim.sign(task, { domain = domain, selector = key.selector, key = key.path }))
  end)
  if not ran or not signed then
    rspamd_logger.errx(task, 'cannot sign for %s with the key of the selector %s: %s', domain, key.selector,
      ran and 'see above' or signed)
    return false
  end
  return true
end

-- Reads the section; returns a function that signs a mail with each key of its domain if it is to be signed. That
-- returns whether all went well, and whether the mail has a signature now.
local function signer(section)
  if type(section) ~= 'table' then
    return function() return true, false end
  end
  local rules = {}
  for name, value in pairs(section) do
    rules[name] = value
  end
  rules.domain = rules.domain or {}
  rules.networks = rules.networks and rules.networks[1]
    and lua_maps.map_add_from_ucl(rules.networks, 'radix', 'networks whose mail is signed')

  return function(task)
    local author = author_domain(task)
    local domain = author and signing_domain(rules, author)
    local complete, signed = true, false
    if domain and may_sign(rules, task, author) then
      for _, key in ipairs(rules.domain[domain]) do
        local done = sign_with(task, domain, key)
        complete, signed = complete and done, signed or done
      end
    end
    return complete, signed
  end
end

return { signer = signer }
