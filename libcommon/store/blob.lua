#!lua name=blob
-- Bodies and their references: one hash for each message, key b:{<id>}; fields z (zstd), n (size), r:<reference>.

local function holding(args, from, value)
  local fields = {}
  for i = from, #args do
    fields[#fields + 1] = 'r:' .. args[i]
    if value then fields[#fields + 1] = value end
  end
  return fields
end

local function write(keys, args) -- z, n, references
  redis.call('HSET', keys[1], unpack(holding(args, 3, '1')))
  if redis.call('HEXISTS', keys[1], 'z') == 0 then redis.call('HSET', keys[1], 'z', args[1], 'n', args[2]) end
  return 0
end

local function open(keys, args) -- reference
  local found = redis.call('HMGET', keys[1], 'z', 'n')
  if not found[1] then return redis.error_reply('NOTFOUND no such blob') end
  redis.call('HSET', keys[1], 'r:' .. args[1], '1')
  return found
end

local function hold(keys, args) -- reference
  if redis.call('HEXISTS', keys[1], 'z') == 0 then return redis.error_reply('NOTFOUND no such blob') end
  redis.call('HSET', keys[1], 'r:' .. args[1], '1')
  return 0
end

local function release(keys, args) -- references
  if redis.call('HDEL', keys[1], unpack(holding(args, 1))) > 0 and redis.call('HLEN', keys[1]) <= 2 then redis.call('UNLINK', keys[1]) end
  return 0
end

local function refs(keys, args)
  local out, blob = {}, false
  for _, field in ipairs(redis.call('HKEYS', keys[1])) do
    blob = true
    if string.sub(field, 1, 2) == 'r:' then out[#out + 1] = string.sub(field, 3) end
  end
  if not blob then return redis.error_reply('NOTFOUND no such blob') end
  return out
end

redis.register_function('blob_write', write)
redis.register_function('blob_open', open)
redis.register_function { function_name = 'blob_hold', callback = hold, flags = { 'allow-oom' } }
redis.register_function { function_name = 'blob_release', callback = release, flags = { 'allow-oom' } }
redis.register_function { function_name = 'blob_refs', callback = refs, flags = { 'no-writes' } }
