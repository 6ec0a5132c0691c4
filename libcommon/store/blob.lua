#!lua name=blob
-- Bodies and who refers to them: one hash a message, key b:{<id>}; fields z (zstd), n (size), r:<reference>.

local function write(keys, args) -- z, n, reference
  if redis.call('HEXISTS', keys[1], 'z') == 1 then
    redis.call('HSET', keys[1], 'r:' .. args[3], '1')
  else
    redis.call('HSET', keys[1], 'z', args[1], 'n', args[2], 'r:' .. args[3], '1')
  end
  return 1
end

local function open(keys, args) -- reference
  local found = redis.call('HMGET', keys[1], 'z', 'n')
  if not found[1] then return redis.error_reply('NOTFOUND no such blob') end
  redis.call('HSET', keys[1], 'r:' .. args[1], '1')
  return found
end

local function release(keys, args) -- reference; answers 1 when the blob went with it
  if redis.call('HDEL', keys[1], 'r:' .. args[1]) == 0 then return 0 end
  if redis.call('HLEN', keys[1]) > 2 then return 0 end
  redis.call('UNLINK', keys[1])
  return 1
end

redis.register_function('blob_write', write)
redis.register_function('blob_open', open)
redis.register_function { function_name = 'blob_release', callback = release, flags = { 'allow-oom' } }
