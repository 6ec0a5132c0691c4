#!lua name=mailbox_metadata
-- Annotations (RFC 5464). The declared key is {u:<user>}; {u}:a is a hash "<folder id><entry>" -> value (folder 0: the server's), and "b": how many bytes
-- its fields and values have. Entries are in lower case and begin with "/". Folder ids are never used again, so the annotations of a deleted folder are
-- seen by nobody; they are removed when their room is needed.

local SPECIAL_USE = '/private/specialuse' -- the folder's own field (RFC 6154 §4)
local FOLDER_ENTRIES, ENTRIES, BYTES = 100, 1000, 1048576

local function refuse(text) return redis.error_reply(text) end

-- Removes the annotations of folders that do not exist; answers the bytes that are left.
local function collect(u, bytes)
  local a, known = u .. ':a', { ['0'] = true, b = true }
  for _, fid in ipairs(redis.call('HVALS', u .. ':f')) do known[fid] = true end
  for _, field in ipairs(redis.call('HKEYS', a)) do
    if not known[string.match(field, '^%d*')] and field ~= 'b' then
      bytes = bytes - #field - redis.call('HSTRLEN', a, field)
      redis.call('HDEL', a, field)
    end
  end
  return bytes
end

local function count_of(a, fid)
  local prefix, n = fid .. '/', 0
  for _, field in ipairs(redis.call('HKEYS', a)) do
    if string.sub(field, 1, #prefix) == prefix then n = n + 1 end
  end
  return n
end

-- All or none.
local function set(keys, args) -- folder id; then of each entry its name, 1 or 0 (removed), value
  local u, fid, a = keys[1], args[1], keys[1] .. ':a'
  if redis.call('EXISTS', u .. ':gone') == 1 then return refuse('NOTFOUND the account was deleted') end
  if fid ~= '0' and redis.call('EXISTS', u .. ':f:' .. fid) == 0 then return refuse('NOTFOUND no such folder') end
  local values, added, more = {}, 0, 0
  for at = 2, #args, 3 do values[fid .. args[at]] = args[at + 1] == '1' and args[at + 2] or false end
  for field, value in pairs(values) do
    if field == fid .. SPECIAL_USE then value = false end
    local before = redis.call('HGET', a, field)
    if before then more = more - #field - #before end
    if value then more = more + #field + #value end
    if value and not before then added = added + 1 end
  end
  local bytes = tonumber(redis.call('HGET', a, 'b') or '0')
  if added > 0 and (bytes + more > BYTES or redis.call('HLEN', a) + added > ENTRIES) then bytes = collect(u, bytes) end
  if more > 0 and bytes + more > BYTES then return refuse('LIMIT too many annotations') end
  if added > 0 and (redis.call('HLEN', a) + added > ENTRIES or count_of(a, fid) + added > FOLDER_ENTRIES) then return refuse('LIMIT too many annotations') end
  if values[fid .. SPECIAL_USE] ~= nil then
    redis.call('HSET', u .. ':f:' .. fid, 'use', values[fid .. SPECIAL_USE] or '')
    values[fid .. SPECIAL_USE] = nil
  end
  for field, value in pairs(values) do
    if value then redis.call('HSET', a, field, value) else redis.call('HDEL', a, field) end
  end
  redis.call('HSET', a, 'b', string.format('%.0f', bytes + more))
  return 1
end

-- Whether an entry is the one that was asked for, or below it by no more than depth levels (-1: any).
local function fits(entry, asked, depth)
  if entry == asked then return true end
  if depth == 0 or string.sub(entry, 1, #asked + 1) ~= asked .. '/' then return false end
  return depth < 0 or not string.find(entry, '/', #asked + 2, true)
end

-- Answers folder id, entry and value of each.
local function get(keys, args) -- folder id ('*': of all folders), depth, entries
  local u, a, out = keys[1], keys[1] .. ':a', {}
  if args[2] == '0' then
    for _, fid in ipairs(args[1] == '*' and redis.call('HVALS', u .. ':f') or { args[1] }) do
      local fields = {}
      for at = 3, #args do fields[#fields + 1] = fid .. args[at] end
      for n, value in ipairs(redis.call('HMGET', a, unpack(fields))) do
        if value then
          out[#out + 1] = fid
          out[#out + 1] = args[n + 2]
          out[#out + 1] = value
        end
      end
    end
    return out
  end
  local prefix = args[1] .. '/'
  for _, field in ipairs(redis.call('HKEYS', a)) do
    if string.sub(field, 1, #prefix) == prefix then
      local entry, wanted = string.sub(field, #prefix), false
      for at = 3, #args do wanted = wanted or fits(entry, args[at], tonumber(args[2])) end
      if wanted then
        out[#out + 1] = args[1]
        out[#out + 1] = entry
        out[#out + 1] = redis.call('HGET', a, field)
      end
    end
  end
  return out
end

-- allow-oom is not among the flags of set: annotations cannot grow when the store is full.
redis.register_function { function_name = 'metadata_set', callback = set }
redis.register_function { function_name = 'metadata_get', callback = get, flags = { 'no-writes' } }
