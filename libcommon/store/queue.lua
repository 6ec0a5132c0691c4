#!lua name=queue
-- The queue. The declared key is {q:<shard>}; from it come
--   {q:<shard>}:due      zset: message id by next attempt (ms)
--   {q:<shard>}:e:<id>   hash: env (JSON), n (recipients still open), s:<index> (a recipient's changed state, JSON), next:<index> (ms)
-- Every Function may be called twice: the second time changes nothing.

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function commit(keys, args) -- id, envelope, open recipients
  local entry = keys[1] .. ':e:' .. args[1]
  if redis.call('HSETNX', entry, 'env', args[2]) == 0 then return 0 end
  redis.call('HSET', entry, 'n', args[3])
  redis.call('ZADD', keys[1] .. ':due', now_ms(), args[1])
  return 1
end

-- One entry as {id, env, index, state, index, state, ...}
local function read(key, id)
  local all = redis.call('HGETALL', key .. ':e:' .. id)
  local out = { id, false }
  for i = 1, #all, 2 do
    if all[i] == 'env' then
      out[2] = all[i + 1]
    elseif string.sub(all[i], 1, 2) == 's:' then
      out[#out + 1] = string.sub(all[i], 3)
      out[#out + 1] = all[i + 1]
    end
  end
  return out
end

local function lease(keys, args) -- max, lease ms
  local due, now = keys[1] .. ':due', now_ms()
  local ids = redis.call('ZRANGE', due, '-inf', now, 'BYSCORE', 'LIMIT', 0, args[1])
  local out = {}
  for _, id in ipairs(ids) do
    local one = read(keys[1], id)
    if one[2] then
      redis.call('ZADD', due, now + args[2], id)
      out[#out + 1] = one
    else
      redis.call('ZREM', due, id)
    end
  end
  return out
end

local function extend(keys, args) -- id, lease ms
  return redis.call('ZADD', keys[1] .. ':due', 'XX', now_ms() + args[2], args[1])
end

-- args: id, in work (1: others of its recipients are being tried now, under the same lease), then per changed recipient: index, open (1: still to be tried,
-- 0: final), state JSON, next ms. While others are in work the lease stays as it is: else another worker would try those a second time.
local function update(keys, args)
  local id = args[1]
  local entry = keys[1] .. ':e:' .. id
  local open = redis.call('HGET', entry, 'n')
  if not open then return 1 end
  open = tonumber(open)
  local earliest
  for i = 3, #args, 4 do
    local done = 'd:' .. args[i]
    if redis.call('HEXISTS', entry, done) == 0 then -- final states stay: a late worker changes nothing
      redis.call('HSET', entry, 's:' .. args[i], args[i + 2])
      if args[i + 1] == '0' then
        redis.call('HSET', entry, done, '1')
        redis.call('HDEL', entry, 'next:' .. args[i])
        open = open - 1
      else
        redis.call('HSET', entry, 'next:' .. args[i], args[i + 3])
      end
    end
  end
  if open <= 0 then
    redis.call('UNLINK', entry)
    redis.call('ZREM', keys[1] .. ':due', id)
    return 1
  end
  redis.call('HSET', entry, 'n', open)
  if args[2] == '1' then return 0 end
  local all = redis.call('HGETALL', entry)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 5) == 'next:' then
      local at = tonumber(all[i + 1])
      if not earliest or at < earliest then earliest = at end
    end
  end
  if earliest then redis.call('ZADD', keys[1] .. ':due', 'XX', earliest, id) end
  return 0
end

local function retry(keys, args) -- id
  if redis.call('EXISTS', keys[1] .. ':e:' .. args[1]) == 0 then return redis.error_reply('NOTFOUND no such message in the queue') end
  redis.call('ZADD', keys[1] .. ':due', now_ms(), args[1])
  return 1
end

local function delete(keys, args) -- id
  if redis.call('UNLINK', keys[1] .. ':e:' .. args[1]) == 0 then return redis.error_reply('NOTFOUND no such message in the queue') end
  redis.call('ZREM', keys[1] .. ':due', args[1])
  return 1
end

local function list(keys, args) -- offset, max
  local ids = redis.call('ZRANGE', keys[1] .. ':due', args[1], args[1] + args[2] - 1)
  local out = {}
  for _, id in ipairs(ids) do out[#out + 1] = read(keys[1], id) end
  return out
end

local function stat(keys, args)
  local first = redis.call('ZRANGE', keys[1] .. ':due', 0, 0, 'WITHSCORES')
  return { redis.call('ZCARD', keys[1] .. ':due'), first[2] or '0' }
end

redis.register_function('queue_commit', commit)
redis.register_function('queue_lease', lease)
redis.register_function('queue_extend', extend)
redis.register_function('queue_update', update)
redis.register_function('queue_retry', retry)
redis.register_function('queue_delete', delete)
redis.register_function('queue_list', list)
redis.register_function{function_name='queue_stat', callback=stat, flags={'no-writes'}}
