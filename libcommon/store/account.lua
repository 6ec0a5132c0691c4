#!lua name=account
-- Domains, accounts, aliases, keys. The declared key is a:{<domain>}; from it come
--   a:{<domain>}:d  hash: created, first (local part that postmaster and abuse fall to), dns.<setting> (JSON)
--   a:{<domain>}:u  hash: local part -> account (JSON)
--   a:{<domain>}:a  hash: local part -> targets (JSON array); "*" is the catch-all
--   a:{<domain>}:k  hash: selector -> key (JSON); its :d has key_month and key_count of the last roll-over
--   a:{<domain>}:t:<who>  failed logins of <who>, expires
--   a:{<domain>}:w:<who>  <who> has to wait while this is there

local function absent(key) return redis.call('EXISTS', key .. ':d') == 0 end

local function domain_add(keys, args) -- created, then selector and key (JSON) of each of its keys
  if redis.call('HSETNX', keys[1] .. ':d', 'created', args[1]) == 0 then return redis.error_reply('EXISTS the domain is there already') end
  for i = 2, #args, 2 do redis.call('HSET', keys[1] .. ':k', args[i], args[i + 1]) end
  return 1
end

local function domain_delete(keys, args) -- force
  if absent(keys[1]) then return redis.error_reply('NOTFOUND no such domain') end
  if args[1] ~= '1' and redis.call('HLEN', keys[1] .. ':u') > 0 then return redis.error_reply('CONFLICT the domain has accounts') end
  redis.call('DEL', keys[1] .. ':d', keys[1] .. ':u', keys[1] .. ':a', keys[1] .. ':k')
  return 1
end

local function domain_set(keys, args) -- field and value of each; an empty value removes the field
  if absent(keys[1]) then return redis.error_reply('NOTFOUND no such domain') end
  for i = 1, #args, 2 do
    if args[i + 1] == '' then redis.call('HDEL', keys[1] .. ':d', args[i]) else redis.call('HSET', keys[1] .. ':d', args[i], args[i + 1]) end
  end
  return 1
end

local function account_add(keys, args) -- local, account
  if absent(keys[1]) then return redis.error_reply('NOTFOUND no such domain') end
  if redis.call('HEXISTS', keys[1] .. ':a', args[1]) == 1 then return redis.error_reply('EXISTS an alias has this address') end
  if redis.call('HSETNX', keys[1] .. ':u', args[1], args[2]) == 0 then return redis.error_reply('EXISTS the account is there already') end
  redis.call('HSETNX', keys[1] .. ':d', 'first', args[1])
  return 1
end

local function account_set(keys, args) -- local, account
  if redis.call('HEXISTS', keys[1] .. ':u', args[1]) == 0 then return redis.error_reply('NOTFOUND no such account') end
  redis.call('HSET', keys[1] .. ':u', args[1], args[2])
  return 1
end

local function account_delete(keys, args) -- local; answers the account as it was
  local was = redis.call('HGET', keys[1] .. ':u', args[1])
  if not was then return redis.error_reply('NOTFOUND no such account') end
  redis.call('HDEL', keys[1] .. ':u', args[1])
  if redis.call('HGET', keys[1] .. ':d', 'first') == args[1] then
    local other = redis.call('HRANDFIELD', keys[1] .. ':u')
    if other then redis.call('HSET', keys[1] .. ':d', 'first', other) else redis.call('HDEL', keys[1] .. ':d', 'first') end
  end
  return was
end

local function alias_set(keys, args) -- local, targets
  if absent(keys[1]) then return redis.error_reply('NOTFOUND no such domain') end
  if redis.call('HEXISTS', keys[1] .. ':u', args[1]) == 1 then return redis.error_reply('EXISTS an account has this address') end
  redis.call('HSET', keys[1] .. ':a', args[1], args[2])
  return 1
end

local function alias_delete(keys, args) -- local
  if redis.call('HDEL', keys[1] .. ':a', args[1]) == 0 then return redis.error_reply('NOTFOUND no such alias') end
  return 1
end

-- A DKIM key goes published (in DNS, signs nothing yet) -> active (signs) -> retired (in DNS still, its private half is gone) -> removed. What has no state is
-- active. Each change answers the selectors that changed; asked a second time it changes nothing.

local KEYS_MAX = 16

local function keys_of(domain)
  local all, out = redis.call('HGETALL', domain .. ':k'), {}
  for i = 1, #all, 2 do
    out[all[i]] = cjson.decode(all[i + 1])
    out[all[i]].state = out[all[i]].state or 'active'
  end
  return out
end

local function key_write(domain, selector, key) redis.call('HSET', domain .. ':k', selector, cjson.encode(key)) end

-- New keys, published. One roll-over at a time: while others are pending nothing changes, but that an urgent one takes the place of one that is not. Selectors are
-- r<month> and e<month>, then r<month>-2 and so on: none is used twice.
local function keys_add(keys, args) -- now, month, urgent ('1', '0'), then each key (JSON) without selector and state
  if absent(keys[1]) then return redis.error_reply('NOTFOUND no such domain') end
  local all, pending, count, changed = keys_of(keys[1]), {}, 0, {}
  for selector, key in pairs(all) do
    count = count + 1
    if key.state == 'published' then
      if args[3] == '0' or key.urgent then return {} end
      pending[#pending + 1] = selector
    end
  end
  if count - #pending + #args - 3 > KEYS_MAX then return redis.error_reply('CONFLICT too many keys are retired and not gone yet') end
  for _, selector in ipairs(pending) do redis.call('HDEL', keys[1] .. ':k', selector) end
  local d, suffix = keys[1] .. ':d', nil
  local n = redis.call('HGET', d, 'key_month') == args[2] and tonumber(redis.call('HGET', d, 'key_count')) or 0
  repeat
    n = n + 1
    suffix = args[2] .. (n == 1 and '' or '-' .. n)
  until not all['r' .. suffix] and not all['e' .. suffix]
  redis.call('HSET', d, 'key_month', args[2], 'key_count', n)
  for i = 4, #args do
    local key = cjson.decode(args[i])
    key.selector = (key.algorithm == 'rsa' and 'r' or 'e') .. suffix
    key.state, key.changed = 'published', args[1]
    if args[3] == '1' then key.urgent = true end
    key_write(keys[1], key.selector, key)
    changed[#changed + 1] = key.selector
  end
  return changed
end

-- Whether published keys are in DNS, as the verifier sees it: since now, and known everywhere from ready on; or not (any more).
local function keys_seen(keys, args) -- now, ready, then selector and '1' or '0' of each
  local all, changed = keys_of(keys[1]), {}
  for i = 3, #args, 2 do
    local key = all[args[i]]
    if key and key.state == 'published' and (key.seen ~= nil) ~= (args[i + 1] == '1') then
      if key.seen then
        key.seen, key.ready = nil, nil
      else
        key.seen, key.ready = args[1], args[2]
      end
      key_write(keys[1], args[i], key)
      changed[#changed + 1] = args[i]
    end
  end
  return changed
end

-- The switch: these published keys sign from now on, all others do so no more and lose their private half. After an urgent roll-over the others are revoked:
-- their public half is empty from now on (RFC 6376 section 3.6.1, p=). What was never seen in DNS never signs.
local function keys_activate(keys, args) -- now, selectors
  local all, named, urgent, pending, changed = keys_of(keys[1]), {}, false, false, {}
  for i = 2, #args do
    local key = all[args[i]]
    if not key then return redis.error_reply('NOTFOUND no such key') end
    if key.state == 'retired' then return redis.error_reply('CONFLICT the key is retired') end
    if key.state == 'published' and not key.seen then return redis.error_reply('CONFLICT the key was not seen in DNS') end
    named[args[i]] = true
    pending = pending or key.state == 'published'
    urgent = urgent or key.urgent
  end
  if not pending then return {} end
  for selector, key in pairs(all) do
    if named[selector] then
      key.state, key.changed, key.ready, key.urgent = 'active', args[1], nil, nil
    elseif key.state == 'active' or (key.state == 'retired' and urgent and not key.revoked) then
      key.state, key.changed, key.private_pem = 'retired', args[1], nil
      if urgent then key.revoked, key.public_b64 = true, '' end
    else
      key = nil
    end
    if key then
      key_write(keys[1], selector, key)
      changed[#changed + 1] = selector
    end
  end
  return changed
end

local function keys_remove(keys, args) -- selectors; only retired ones go
  local all, changed = keys_of(keys[1]), {}
  for _, selector in ipairs(args) do
    if all[selector] and all[selector].state == 'retired' then
      redis.call('HDEL', keys[1] .. ':k', selector)
      changed[#changed + 1] = selector
    end
  end
  return changed
end

-- local part -> {kind, JSON}: 'remote' (no such domain), 'account', 'alias', 'unknown'. Tried in this order: the account, the alias, both without "+tag",
-- postmaster and abuse (RFC 5321 §4.5.1, RFC 2142), the catch-all.
local function resolve(keys, args)
  if absent(keys[1]) then return { 'remote', '' } end
  local names = { args[1] }
  local plus = string.find(args[1], '+', 2, true)
  if plus then names[2] = string.sub(args[1], 1, plus - 1) end
  for _, name in ipairs(names) do
    local account = redis.call('HGET', keys[1] .. ':u', name)
    if account then return { 'account', account, name } end
    local targets = redis.call('HGET', keys[1] .. ':a', name)
    if targets then return { 'alias', targets, name } end
  end
  if args[1] == 'postmaster' or args[1] == 'abuse' then
    local first = redis.call('HGET', keys[1] .. ':d', 'first')
    if first then return { 'account', redis.call('HGET', keys[1] .. ':u', first), first } end
  end
  local all = redis.call('HGET', keys[1] .. ':a', '*')
  if all then return { 'alias', all, '*' } end
  return { 'unknown', '' }
end

-- How many seconds <who> still has to wait; 0: may try.
local function wait(keys, args) -- who
  local seconds = redis.call('TTL', keys[1] .. ':w:' .. args[1])
  return seconds > 0 and seconds or 0
end

-- Past the free failures each further one doubles the wait: 60 s, 2 min, … up to an hour.
local function failed(keys, args) -- who, window in seconds, free failures
  local key, free = keys[1] .. ':t:' .. args[1], tonumber(args[3])
  local n = redis.call('INCR', key)
  local seconds = 0
  if n >= free then
    seconds = math.min(60 * 2 ^ math.min(n - free, 6), 3600)
    redis.call('SET', keys[1] .. ':w:' .. args[1], n, 'EX', seconds)
  end
  redis.call('EXPIRE', key, tonumber(args[2]) + seconds)
  return n
end

local function cleared(keys, args) -- who
  return redis.call('DEL', keys[1] .. ':t:' .. args[1], keys[1] .. ':w:' .. args[1])
end

redis.register_function('account_domain_add', domain_add)
redis.register_function('account_domain_delete', domain_delete)
redis.register_function('account_domain_set', domain_set)
redis.register_function('account_add', account_add)
redis.register_function('account_set', account_set)
redis.register_function('account_delete', account_delete)
redis.register_function('account_alias_set', alias_set)
redis.register_function('account_alias_delete', alias_delete)
redis.register_function('account_keys_add', keys_add)
redis.register_function('account_keys_seen', keys_seen)
redis.register_function('account_keys_activate', keys_activate)
redis.register_function('account_keys_remove', keys_remove)
redis.register_function{function_name='account_resolve', callback=resolve, flags={'no-writes'}}
redis.register_function{function_name='account_login_wait', callback=wait, flags={'no-writes'}}
redis.register_function('account_failed', failed)
redis.register_function('account_cleared', cleared)
