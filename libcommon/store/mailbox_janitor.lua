#!lua name=mailbox_janitor
-- The janitor's Functions (services/mailbox/janitor.h). Its own keys, declared key {janitor}:
--   {janitor}:lease     string: the token of the replica that is at work; ends by itself
--   {janitor}:state     hash: round, phase, cursor, next_ms: the progress of the work, so that another replica can continue
--   {janitor}:seen:<n>  hash: "<blob id> <reference>" -> when that reference was first found without an owner (ms);
--                       of this round and of the one before (n: the round modulo 2)
-- The others have the declared key {u:<user>}. Nothing here makes the store grow by more than SUSPECTS_MAX fields, so all of it runs at maxmemory.

local SEEN, SUSPECTS_MAX = 1, 100000

local function text_of(n) return string.format('%.0f', n) end
local function lost() return redis.error_reply('LOST another replica is at work') end

-- The lease

local function hold(key, token, lease_ms)
  local holder = redis.call('GET', key .. ':lease')
  if holder and holder ~= token then return false end
  redis.call('SET', key .. ':lease', token, 'PX', lease_ms)
  return true
end

local function lease(keys, args) -- token, ms; answers round, phase, cursor, next_ms
  if not hold(keys[1], args[1], args[2]) then return lost() end
  return redis.call('HMGET', keys[1] .. ':state', 'round', 'phase', 'cursor', 'next_ms')
end

-- A new round removes the references of the round before the last.
local function save(keys, args) -- token, ms, round, phase, cursor, next_ms
  local key = keys[1]
  if not hold(key, args[1], args[2]) then return lost() end
  if redis.call('HGET', key .. ':state', 'round') ~= args[3] then redis.call('UNLINK', key .. ':seen:' .. tonumber(args[3]) % 2) end
  redis.call('HSET', key .. ':state', 'round', args[3], 'phase', args[4], 'cursor', args[5], 'next_ms', args[6])
  return 0
end

local function give_up(keys, args) -- token
  if redis.call('GET', keys[1] .. ':lease') == args[1] then redis.call('DEL', keys[1] .. ':lease') end
  return 0
end

local function suspect(keys, args) -- round, now (ms), suspects; answers when each was first seen
  local now_at, before_at, out = keys[1] .. ':seen:' .. tonumber(args[1]) % 2, keys[1] .. ':seen:' .. (tonumber(args[1]) + 1) % 2, {}
  local room = SUSPECTS_MAX - redis.call('HLEN', now_at)
  for at = 3, #args do
    local first = redis.call('HGET', now_at, args[at]) or redis.call('HGET', before_at, args[at]) or args[2]
    if at - 2 <= room then redis.call('HSET', now_at, args[at], first) end
    out[#out + 1] = first
  end
  return out
end

-- Users

-- Answers: deleted, has figures, something waits to be released, changed since the last recount, when that was (s).
local function look(keys, args)
  local u = keys[1]
  local i = redis.call('HMGET', u .. ':i', 'modseq', 'counted_modseq', 'counted')
  return { redis.call('EXISTS', u .. ':gone'), redis.call('EXISTS', u .. ':i'), redis.call('EXISTS', u .. ':x', u .. ':g', u .. ':j'), i[1] ~= i[2] and 1 or 0, i[3] or '0' }
end

-- Removes keys of a deleted user that no other key leads to.
local function unlink(keys, args) -- what follows the declared key
  if redis.call('EXISTS', keys[1] .. ':gone') == 0 then return 0 end
  local n = 0
  for _, rest in ipairs(args) do
    if rest ~= ':gone' then n = n + redis.call('UNLINK', keys[1] .. rest) end
  end
  return n
end

local function count_begin(keys, args) -- answers the modseq and the ids of all folders
  return { redis.call('HGET', keys[1] .. ':i', 'modseq') or '0', redis.call('HVALS', keys[1] .. ':f') }
end

-- A page of a folder's records, by modseq. Answers messages, bytes, unseen, the last modseq, more, records that there are in all.
local function count_page(keys, args) -- folder id, after this modseq, max
  local fk = keys[1] .. ':f:' .. args[1]
  local uids = redis.call('ZRANGE', fk .. ':q', '(' .. args[2], '+inf', 'BYSCORE', 'LIMIT', 0, args[3])
  local messages, bytes, unseen, last = 0, 0, 0, args[2]
  if #uids > 0 then
    for _, record in ipairs(redis.call('HMGET', fk .. ':m', unpack(uids))) do
      if record then
        local _, size, modseq, low = struct.unpack('<I4I4I8I4', record)
        messages, bytes, last = messages + 1, bytes + size, text_of(modseq)
        if bit.band(low, SEEN) == 0 then unseen = unseen + 1 end
      end
    end
  end
  return { messages, text_of(bytes), unseen, last, #uids == tonumber(args[3]) and 1 or 0, redis.call('HLEN', fk .. ':m') }
end

-- Puts figures right where they are wrong; nothing happens when the mailbox has changed since they were counted.
-- now '': the folders alone. Answers 1: something was wrong; -1: changed.
local function count_end(keys, args) -- modseq, number of folders, now (s), messages, bytes; then of folders: id, messages, bytes, unseen
  local u, wrong = keys[1], 0
  local i = redis.call('HMGET', u .. ':i', 'modseq', 'messages', 'bytes')
  if (i[1] or '0') ~= args[1] or redis.call('HLEN', u .. ':f') ~= tonumber(args[2]) then return -1 end
  for at = 6, #args, 4 do
    local fk = u .. ':f:' .. args[at]
    local h = redis.call('HMGET', fk, 'messages', 'bytes', 'unseen')
    if h[1] and (h[1] ~= args[at + 1] or h[2] ~= args[at + 2] or h[3] ~= args[at + 3]) then
      redis.call('HSET', fk, 'messages', args[at + 1], 'bytes', args[at + 2], 'unseen', args[at + 3])
      wrong = 1
    end
  end
  if args[3] == '' then return wrong end
  if (i[2] or '0') ~= args[4] or (i[3] or '0') ~= args[5] then
    redis.call('HSET', u .. ':i', 'messages', args[4], 'bytes', args[5])
    wrong = 1
  end
  redis.call('HSET', u .. ':i', 'counted', args[3], 'counted_modseq', args[1])
  return wrong
end

redis.register_function { function_name = 'janitor_lease', callback = lease, flags = { 'allow-oom' } }
redis.register_function { function_name = 'janitor_save', callback = save, flags = { 'allow-oom' } }
redis.register_function { function_name = 'janitor_give_up', callback = give_up, flags = { 'allow-oom' } }
redis.register_function { function_name = 'janitor_suspect', callback = suspect, flags = { 'allow-oom' } }
redis.register_function { function_name = 'janitor_look', callback = look, flags = { 'no-writes' } }
redis.register_function { function_name = 'janitor_unlink', callback = unlink, flags = { 'allow-oom' } }
redis.register_function { function_name = 'janitor_count_begin', callback = count_begin, flags = { 'no-writes' } }
redis.register_function { function_name = 'janitor_count_page', callback = count_page, flags = { 'no-writes' } }
redis.register_function { function_name = 'janitor_count_end', callback = count_end, flags = { 'allow-oom' } }
