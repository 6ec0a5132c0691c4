#!lua name=account
-- Domains, accounts, aliases, keys. The declared key is a:{<domain>}; from it come
--   a:{<domain>}:d  hash: created, first (local part that postmaster and abuse fall to), dns.<setting> (JSON)
--   a:{<domain>}:u  hash: local part -> account (JSON)
--   a:{<domain>}:a  hash: local part -> targets (JSON array); "*" is the catch-all
--   a:{<domain>}:k  hash: selector -> key (JSON); its :d has key_month and key_count of the last roll-over
--   a:{<domain>}:owed  hash: user id -> "quota <bytes> <local part>" or "delete": the operation that is owed to the mailbox service, written together with the change
-- and of all domains:
--   a:owing  sorted set: domain -> when an operation was last about to be owed by it, in ms since 1970; an index of the :owed hashes
-- The counters of logins are those of login.lua; a:{<domain>}:n:<local part> goes with its account.

local function absent(key) return redis.call('EXISTS', key .. ':d') == 0 end

local function domain_add(keys, args) -- created, then selector and key (JSON) of each of its keys
  if redis.call('HSETNX', keys[1] .. ':d', 'created', args[1]) == 0 then return redis.error_reply('EXISTS the domain is there already') end
  for i = 2, #args, 2 do redis.call('HSET', keys[1] .. ':k', args[i], args[i + 1]) end
  return 1
end

-- The account goes: its user's mail is owed to be deleted. Answers the user's id.
local function drop_account(domain, name, text)
  local user = cjson.decode(text).user
  redis.call('HDEL', domain .. ':u', name)
  redis.call('UNLINK', domain .. ':n:' .. name)
  redis.call('HSET', domain .. ':owed', user, 'delete')
  return user
end

local function domain_delete(keys, args) -- force; answers local part and user id of each account that went with it
  if absent(keys[1]) then return redis.error_reply('NOTFOUND no such domain') end
  local accounts, gone = redis.call('HGETALL', keys[1] .. ':u'), {}
  if args[1] ~= '1' and #accounts > 0 then return redis.error_reply('CONFLICT the domain has accounts') end
  for i = 1, #accounts, 2 do
    gone[#gone + 1] = accounts[i]
    gone[#gone + 1] = drop_account(keys[1], accounts[i], accounts[i + 1])
  end
  redis.call('UNLINK', keys[1] .. ':d', keys[1] .. ':u', keys[1] .. ':a', keys[1] .. ':k')
  return gone
end

local function domain_set(keys, args) -- field and value of each; an empty value removes the field
  if absent(keys[1]) then return redis.error_reply('NOTFOUND no such domain') end
  for i = 1, #args, 2 do
    if args[i + 1] == '' then redis.call('HDEL', keys[1] .. ':d', args[i]) else redis.call('HSET', keys[1] .. ':d', args[i], args[i + 1]) end
  end
  return 1
end

local function account_add(keys, args) -- local, account, then user and what is owed of it, if anything is
  if absent(keys[1]) then return redis.error_reply('NOTFOUND no such domain') end
  if redis.call('HEXISTS', keys[1] .. ':a', args[1]) == 1 then return redis.error_reply('EXISTS an alias has this address') end
  if redis.call('HSETNX', keys[1] .. ':u', args[1], args[2]) == 0 then return redis.error_reply('EXISTS the account is there already') end
  redis.call('HSETNX', keys[1] .. ':d', 'first', args[1])
  if args[3] then redis.call('HSET', keys[1] .. ':owed', args[3], args[4]) end
  return 1
end

local function account_set(keys, args) -- local, account as it was read, account, then user and what is owed of it, if anything is
  local is = redis.call('HGET', keys[1] .. ':u', args[1])
  if not is then return redis.error_reply('NOTFOUND no such account') end
  if is ~= args[2] then return redis.error_reply('CONFLICT the account was changed meanwhile') end
  redis.call('HSET', keys[1] .. ':u', args[1], args[3])
  if args[4] then redis.call('HSET', keys[1] .. ':owed', args[4], args[5]) end
  return 1
end

local function account_delete(keys, args) -- local; answers the account as it was
  local was = redis.call('HGET', keys[1] .. ':u', args[1])
  if not was then return redis.error_reply('NOTFOUND no such account') end
  drop_account(keys[1], args[1], was)
  if redis.call('HGET', keys[1] .. ':d', 'first') == args[1] then
    local other = redis.call('HRANDFIELD', keys[1] .. ':u')
    if other then redis.call('HSET', keys[1] .. ':d', 'first', other) else redis.call('HDEL', keys[1] .. ':d', 'first') end
  end
  return was
end

-- The mailbox service did what was owed. A newer operation of the same user stays owed. When a quota was overtaken by another that is done already, the newer one
-- is owed again: the two may have arrived in either order. Answers whether something is still owed.
local function owed_done(keys, args) -- user, what was done
  local key, is = keys[1] .. ':owed', redis.call('HGET', keys[1] .. ':owed', args[1])
  if is == args[2] then
    redis.call('HDEL', key, args[1])
    return 0
  end
  if is then return 1 end
  local bytes, name = string.match(args[2], '^quota (%d+) (.+)$')
  local text = name and redis.call('HGET', keys[1] .. ':u', name)
  local quota = text and string.match(text, '"quota_bytes":(%d+)')
  if not quota or quota == bytes or cjson.decode(text).user ~= args[1] then return 0 end
  redis.call('HSET', key, args[1], 'quota ' .. quota .. ' ' .. name)
  return 1
end

-- A domain that owes nothing leaves the index, unless an operation was about to be owed after `since`.
local function owing_clear(keys, args) -- since (ms), domain
  local at = redis.call('ZSCORE', keys[1], args[2])
  if at and tonumber(at) < tonumber(args[1]) then return redis.call('ZREM', keys[1], args[2]) end
  return 0
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

-- local part -> kind, JSON, the local part it was found under. Kinds: 'remote' (no such domain), 'account', 'alias', 'unknown'. Tried in this order: the account,
-- the alias, both without "+tag", postmaster and abuse (RFC 5321 §4.5.1, RFC 2142), the catch-all.
local function resolve_one(domain, local_part)
  local names = { local_part }
  local plus = string.find(local_part, '+', 2, true)
  if plus then names[2] = string.sub(local_part, 1, plus - 1) end
  for _, name in ipairs(names) do
    local account = redis.call('HGET', domain .. ':u', name)
    if account then return 'account', account, name end
    local targets = redis.call('HGET', domain .. ':a', name)
    if targets then return 'alias', targets, name end
  end
  if local_part == 'postmaster' or local_part == 'abuse' then
    local first = redis.call('HGET', domain .. ':d', 'first')
    if first then return 'account', redis.call('HGET', domain .. ':u', first), first end
  end
  local all = redis.call('HGET', domain .. ':a', '*')
  if all then return 'alias', all, '*' end
  return 'unknown', '', ''
end

local function resolve(keys, args) -- local parts; answers kind, JSON and name of each
  local out, gone = {}, absent(keys[1])
  for i, local_part in ipairs(args) do
    if gone then
      out[3 * i - 2], out[3 * i - 1], out[3 * i] = 'remote', '', ''
    else
      out[3 * i - 2], out[3 * i - 1], out[3 * i] = resolve_one(keys[1], local_part)
    end
  end
  return out
end

-- What a login needs to know first: the account of an address, how long this network has to wait with it (ms; see login.lua, whose keys these are), and when a
-- login of the account from this network last succeeded (ms since 1970; 0: never).
local function login_look(keys, args) -- local part, network
  local kind, text, name = 'remote', '', ''
  if not absent(keys[1]) then kind, text, name = resolve_one(keys[1], args[1]) end
  if kind ~= 'account' then text, name = '', args[1] end
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  local wait = tonumber(redis.call('HGET', keys[1] .. ':l:' .. name .. '/' .. args[2] .. ':f', 'until') or 0) - now
  return { text, name, math.max(0, wait), tonumber(redis.call('ZSCORE', keys[1] .. ':n:' .. name, args[2]) or 0) }
end

redis.register_function('account_domain_add', domain_add)
redis.register_function{function_name='account_domain_delete', callback=domain_delete, flags={'allow-oom'}}
redis.register_function('account_domain_set', domain_set)
redis.register_function('account_add', account_add)
redis.register_function('account_set', account_set)
redis.register_function{function_name='account_delete', callback=account_delete, flags={'allow-oom'}}
redis.register_function('account_alias_set', alias_set)
redis.register_function('account_alias_delete', alias_delete)
redis.register_function('account_keys_add', keys_add)
redis.register_function('account_keys_seen', keys_seen)
redis.register_function('account_keys_activate', keys_activate)
redis.register_function('account_keys_remove', keys_remove)
redis.register_function{function_name='account_resolve', callback=resolve, flags={'no-writes'}}
redis.register_function{function_name='account_login_look', callback=login_look, flags={'no-writes'}}
redis.register_function{function_name='account_owed_done', callback=owed_done, flags={'allow-oom'}}
redis.register_function{function_name='account_owing_clear', callback=owing_clear, flags={'allow-oom'}}
