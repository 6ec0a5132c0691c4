#!lua name=blob
-- Bodies and their references: one hash for each message, key b:{<id>} (libcommon/store/blob.h):
--   n         size in bytes; a body exists when it has this field
--   z, z1, …  its blocks, each a zstd frame; s: "<bytes of a block>" or "<bytes of a block> <bytes of the first>"; no s: z is the whole message
--   c         where it is in the cold tier, instead of its blocks; i: the lengths of its blocks there, where there are several
--   r:<ref>   one field for each reference
--   w         time of the last block (ms), while a writer is at work: then there is no n

local function field(block) return block == 0 and 'z' or 'z' .. block end

local function blocks_of(size, layout)
  if not layout then return 1 end
  local each, first = string.match(layout, '^(%d+) ?(%d*)$')
  each, first = tonumber(each), tonumber(first) or tonumber(each)
  return 1 + math.max(0, math.ceil((tonumber(size) - first) / each))
end

local function references(key) -- how many; nil: there is no such body
  local f = redis.call('HMGET', key, 'n', 's', 'c', 'i')
  if not f[1] then return nil end
  return redis.call('HLEN', key) - 1 - (f[2] and 1 or 0) - (f[3] and 1 or blocks_of(f[1], f[2])) - (f[4] and 1 or 0)
end

local function holding(args, from, value)
  local fields = {}
  for i = from, #args do
    fields[#fields + 1] = 'r:' .. args[i]
    if value then fields[#fields + 1] = value end
  end
  return fields
end

local function exists(key) return redis.call('HEXISTS', key, 'n') == 1 end
local function missing() return redis.error_reply('NOTFOUND no such blob') end

local function write(keys, args) -- n, s (or empty), how many blocks, blocks, references
  local count = tonumber(args[3])
  if not exists(keys[1]) then
    redis.call('UNLINK', keys[1]) -- what a writer left
    for block = 0, count - 1 do redis.call('HSET', keys[1], field(block), args[4 + block]) end
    redis.call('HSET', keys[1], 'n', args[1])
    if args[2] ~= '' then redis.call('HSET', keys[1], 's', args[2]) end
  end
  redis.call('HSET', keys[1], unpack(holding(args, 4 + count, '1')))
  return 0
end

local function put(keys, args) -- now (ms), number of the block, block
  if exists(keys[1]) then return redis.error_reply('EXISTS this blob is complete') end
  redis.call('HSET', keys[1], 'w', args[1], field(tonumber(args[2])), args[3])
  return 0
end

local function finish(keys, args) -- n, s, first block, references
  if not exists(keys[1]) then
    for block = 1, blocks_of(args[1], args[2]) - 1 do
      if redis.call('HEXISTS', keys[1], field(block)) == 0 then return redis.error_reply('NOTFOUND a block is missing') end
    end
    redis.call('HSET', keys[1], 'n', args[1], 's', args[2], 'z', args[3])
    redis.call('HDEL', keys[1], 'w')
  end
  redis.call('HSET', keys[1], unpack(holding(args, 4, '1')))
  return 0
end

-- Removes a body without references, and the blocks of a writer that has written nothing since `before`.
local function forget(keys, args) -- before (ms)
  local count = references(keys[1])
  local written = redis.call('HGET', keys[1], 'w')
  if count == 0 or not count and tonumber(written or '0') < tonumber(args[1]) then redis.call('UNLINK', keys[1]) end
  return 0
end

local function open(keys, args) -- reference
  local found = redis.call('HMGET', keys[1], 'n', 's', 'c', 'i', 'z')
  if not found[1] then return missing() end
  redis.call('HSET', keys[1], 'r:' .. args[1], '1')
  return found
end

local function hold(keys, args) -- reference
  if not exists(keys[1]) then return missing() end
  redis.call('HSET', keys[1], 'r:' .. args[1], '1')
  return 0
end

local function release(keys, args) -- references
  if redis.call('HDEL', keys[1], unpack(holding(args, 1))) > 0 and references(keys[1]) == 0 then redis.call('UNLINK', keys[1]) end
  return 0
end

-- The body is on disk at a place of the cold tier: its blocks are removed here. Nothing happens when it was moved or removed meanwhile.
local function moved(keys, args) -- present place (empty: here), new place, s, i (each may be empty)
  local f = redis.call('HMGET', keys[1], 'n', 's', 'c')
  if not f[1] then return missing() end
  if (f[3] or '') ~= args[1] then return redis.error_reply('CONFLICT it is elsewhere') end
  if not f[3] then
    for block = 0, blocks_of(f[1], f[2]) - 1 do redis.call('HDEL', keys[1], field(block)) end
  end
  redis.call('HDEL', keys[1], 's', 'i')
  redis.call('HSET', keys[1], 'c', args[2])
  if args[3] ~= '' then redis.call('HSET', keys[1], 's', args[3]) end
  if args[4] ~= '' then redis.call('HSET', keys[1], 'i', args[4]) end
  return 0
end

-- The list of segments of the cold tier, key {cold}:segments: its score is the time when it was written (ms), below zero until it is.
local function segment(keys, args) -- score, name
  redis.call('ZADD', keys[1], args[1], args[2])
  return 0
end

local function refs(keys, args)
  local out, blob = {}, false
  for _, name in ipairs(redis.call('HKEYS', keys[1])) do
    blob = true
    if string.sub(name, 1, 2) == 'r:' then out[#out + 1] = string.sub(name, 3) end
  end
  if not blob then return missing() end
  return out
end

redis.register_function('blob_write', write)
redis.register_function('blob_put', put)
redis.register_function('blob_finish', finish)
redis.register_function('blob_open', open)
redis.register_function { function_name = 'blob_hold', callback = hold, flags = { 'allow-oom' } }
redis.register_function { function_name = 'blob_release', callback = release, flags = { 'allow-oom' } }
redis.register_function { function_name = 'blob_forget', callback = forget, flags = { 'allow-oom' } }
redis.register_function { function_name = 'blob_moved', callback = moved, flags = { 'allow-oom' } }
redis.register_function { function_name = 'blob_segment', callback = segment, flags = { 'allow-oom' } }
redis.register_function { function_name = 'blob_refs', callback = refs, flags = { 'no-writes' } }
