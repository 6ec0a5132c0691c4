#!lua name=login
-- Counters of failed logins, which all replicas share. A try is counted when it begins and given back when the password was right, so that tries in parallel do not
-- pass. A counter c is two keys, both of which expire:
--   c:f  hash: failures; until (ms since 1970; no try before)
--   c:r  sorted set: a try that runs -> when it counts as given up (ms)
-- The declared key is a:{<domain>}, with the counters :l:<local part>/<network> and :l:<local part> and
--   a:{<domain>}:n:<local part>  sorted set: network -> when a login of this account from it last succeeded (ms)
-- or a:net:{<wide network>}, with the counters of its name and :<network>.

local TRY_MS, KNOWN_MAX, KNOWN_MS = 30000, 50, 90 * 86400 * 1000
local WAIT_FIRST_S, WAIT_MAX_S = 60, 3600

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Milliseconds until a try is allowed; 0: now; -1: when one of those that run has ended. Past the free failures one try at a time is allowed, when its wait is over.
local function wait_of(c, now, free)
  local seen = redis.call('HMGET', c .. ':f', 'failures', 'until')
  local wait = tonumber(seen[2] or 0) - now
  if wait > 0 then return wait end
  redis.call('ZREMRANGEBYSCORE', c .. ':r', '-inf', now)
  if redis.call('ZCARD', c .. ':r') >= math.max(1, free - tonumber(seen[1] or 0)) then return -1 end
  return 0
end

local function reserve(c, now, try)
  redis.call('ZADD', c .. ':r', now + TRY_MS, try)
  redis.call('PEXPIRE', c .. ':r', TRY_MS)
end

-- Past the free failures each further one doubles the wait: 60 s, 2 min, ... up to most.
local function settle(c, now, try, failed, window_ms, free, most)
  redis.call('ZREM', c .. ':r', try)
  if not failed then return end
  local n, wait_ms = redis.call('HINCRBY', c .. ':f', 'failures', 1), 0
  if n >= free then
    wait_ms = math.min(WAIT_FIRST_S * 2 ^ math.min(n - free, 6), most) * 1000
    redis.call('HSET', c .. ':f', 'until', string.format('%d', now + wait_ms))
  end
  redis.call('PEXPIRE', c .. ':f', string.format('%d', window_ms + wait_ms))
end

-- A try of an account from a network. A network from which the account logged in before answers only for its own failures: others cannot lock it out.
local function begin(keys, args) -- local part, network, try, free failures of (account, network), of the account from networks that are not known
  local now, account = now_ms(), keys[1] .. ':l:' .. args[1]
  local pair = account .. '/' .. args[2]
  local known = redis.call('ZSCORE', keys[1] .. ':n:' .. args[1], args[2])
  local wait = wait_of(pair, now, tonumber(args[4]))
  if wait == 0 and not known then wait = wait_of(account, now, tonumber(args[5])) end
  if wait ~= 0 then return wait end
  reserve(pair, now, args[3])
  if not known then reserve(account, now, args[3]) end
  return 0
end

-- Its end: 'right', 'wrong', or 'none' when the password was not looked at.
local function finish(keys, args) -- local part, network, try, end, window (ms), free failures of (account, network), of the account
  local now, account, known = now_ms(), keys[1] .. ':l:' .. args[1], keys[1] .. ':n:' .. args[1]
  local pair, wrong = account .. '/' .. args[2], args[4] == 'wrong'
  settle(pair, now, args[3], wrong, tonumber(args[5]), tonumber(args[6]), WAIT_MAX_S)
  settle(account, now, args[3], wrong and not redis.call('ZSCORE', known, args[2]), tonumber(args[5]), tonumber(args[7]), WAIT_FIRST_S)
  if args[4] == 'right' then
    redis.call('UNLINK', pair .. ':f')
    redis.call('ZADD', known, now, args[2])
    redis.call('ZREMRANGEBYSCORE', known, '-inf', now - KNOWN_MS)
    redis.call('ZREMRANGEBYRANK', known, 0, -KNOWN_MAX - 1)
    redis.call('PEXPIRE', known, KNOWN_MS)
  end
  return 1
end

-- The same for a network over all accounts.
local function network_begin(keys, args) -- network, try, free failures of it, of the wide one (0: not counted)
  local now, narrow = now_ms(), keys[1] .. ':' .. args[1]
  local wait, wide_free = wait_of(narrow, now, tonumber(args[3])), tonumber(args[4])
  if wait == 0 and wide_free > 0 then wait = wait_of(keys[1], now, wide_free) end
  if wait ~= 0 then return wait end
  reserve(narrow, now, args[2])
  if wide_free > 0 then reserve(keys[1], now, args[2]) end
  return 0
end

local function network_finish(keys, args) -- network, try, end, window (ms), free failures of it, of the wide one
  local now, wrong, wide_free = now_ms(), args[3] == 'wrong', tonumber(args[6])
  settle(keys[1] .. ':' .. args[1], now, args[2], wrong, tonumber(args[4]), tonumber(args[5]), WAIT_MAX_S)
  if wide_free > 0 then settle(keys[1], now, args[2], wrong, tonumber(args[4]), wide_free, WAIT_MAX_S) end
  return 1
end

redis.register_function{function_name='login_begin', callback=begin, flags={'allow-oom'}}
redis.register_function{function_name='login_finish', callback=finish, flags={'allow-oom'}}
redis.register_function{function_name='login_network_begin', callback=network_begin, flags={'allow-oom'}}
redis.register_function{function_name='login_network_finish', callback=network_finish, flags={'allow-oom'}}
