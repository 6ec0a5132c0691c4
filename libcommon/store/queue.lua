#!lua name=queue
-- The queue. The declared key is {q:<shard>}; from it come
--   :due      zset  message id by the time at which it is due (ms); the end of the lease while it is leased; +inf while it is held
--   :held     zset  ids of held entries by the time of the hold (ms)
--   :dead     zset  ids of damaged entries by the time at which they were put aside (ms); they are in no other index
--   :prio     zset  ids of entries whose priority is not 0, by priority
--   :dom      zset  "<domain> <id>", all with score 0: the entries that have open recipients at a domain
--   :e:<id>   hash  env (JSON), n (open recipients), o (reports owed), p (priority, absent: 0), t (token of the lease), y (1: a retry was asked while leased),
--                   c:<domain> (open recipients there), and of each recipient that was tried: s:<index> (its state, JSON), d:<index> (1: final),
--                   o:<index> (kind of the report that is owed)
--   :b:<id>   hash  z (zstd), n (size in bytes): the text of a message all of whose recipients are at other sites; it lives as long as the entry
--   :t:<id>   zset  "<domain> <index>" of deferred recipients by the time of their next try (ms; 0: now)
--   :m:<time> set   ids of entries that were completed within a day, without their first 8 characters, which are <time>; with "-" after them: deleted
-- Every Function may be called twice: the second time changes nothing. None but the commits makes the store grow, so all others run at maxmemory too.

local MEMO_SECONDS = 86400
local FIELDS_MAX = 4000 -- of all entries of one answer, where every 100 bytes of an envelope count as one more, so that no Function takes long
local SCAN_MAX = 1000
local TEXT_MAX = 16384 -- bytes of a packed text that an answer of lease carries
local GONE = 1

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function lost() return redis.error_reply('LOST the lease is another\'s') end
local function not_found() return redis.error_reply('NOTFOUND no such message in the queue') end

local function memo(key, id) return key .. ':m:' .. string.sub(id, 1, 8), string.sub(id, 9) end

local function remember(key, id, mark)
  local at, rest = memo(key, id)
  redis.call('SADD', at, rest .. mark)
  redis.call('EXPIRE', at, MEMO_SECONDS)
end

-- Whether the entry of an id was completed, and whether it was deleted.
local function remembered(key, id)
  local at, rest = memo(key, id)
  local found = redis.call('SMISMEMBER', at, rest, rest .. '-')
  return found[1] == 1, found[2] == 1
end

-- "<domain> <id>" of each domain where the entry has open recipients.
local function index_members(entry, id)
  local members = {}
  for _, field in ipairs(redis.call('HKEYS', entry)) do
    if string.sub(field, 1, 2) == 'c:' then members[#members + 1] = string.sub(field, 3) .. ' ' .. id end
  end
  return members
end

local function drop_index(key, entry, id)
  local members = index_members(entry, id)
  if #members > 0 then redis.call('ZREM', key .. ':dom', unpack(members)) end
  redis.call('ZREM', key .. ':due', id)
  redis.call('ZREM', key .. ':held', id)
  redis.call('ZREM', key .. ':prio', id)
end

local function add_domains(key, members)
  local scored = {}
  for _, member in ipairs(members) do
    scored[#scored + 1] = 0
    scored[#scored + 1] = member
  end
  if #scored > 0 then redis.call('ZADD', key .. ':dom', unpack(scored)) end
end

-- When an entry that is not leased is due.
local function due_at(key, entry, id)
  if redis.call('ZSCORE', key .. ':held', id) then return '+inf' end
  local counts = redis.call('HMGET', entry, 'n', 'o')
  local times = key .. ':t:' .. id
  if tonumber(counts[2] or 0) > 0 or tonumber(counts[1] or 0) > redis.call('ZCARD', times) then return now_ms() end
  return redis.call('ZRANGE', times, 0, 0, 'WITHSCORES')[2] or now_ms()
end

local function is_leased(key, entry, id)
  if redis.call('HEXISTS', entry, 't') == 0 then return false end
  local ends = redis.call('ZSCORE', key .. ':due', id)
  return ends and ends ~= 'inf' and tonumber(ends) > now_ms()
end

-- args: id, envelope, open recipients, priority, then per domain: domain, open recipients there. text: {z, n}, or nil.
-- Returns GONE for an id whose entry was completed or deleted within a day; 0, true for a new entry.
local function commit_with(keys, args, text)
  local key, id = keys[1], args[1]
  local entry = key .. ':e:' .. id
  local done, deleted = remembered(key, id)
  if done or deleted then return GONE end
  if redis.call('HSETNX', entry, 'env', args[2]) == 0 then return 0 end
  local fields, members = { 'n', args[3] }, {}
  if args[4] ~= '0' then
    fields[3], fields[4] = 'p', args[4]
    redis.call('ZADD', key .. ':prio', args[4], id)
  end
  for i = 5, #args, 2 do
    fields[#fields + 1] = 'c:' .. args[i]
    fields[#fields + 1] = args[i + 1]
    members[#members + 1] = args[i] .. ' ' .. id
  end
  redis.call('HSET', entry, unpack(fields))
  add_domains(key, members)
  if text then redis.call('HSET', key .. ':b:' .. id, 'z', text[1], 'n', text[2]) end
  redis.call('ZADD', key .. ':due', now_ms(), id)
  return 0, true
end

local function commit(keys, args) return (commit_with(keys, args)) end

local function commit_held(keys, args) -- as for commit: the entry is held from the beginning
  local key, id = keys[1], args[1]
  local result, fresh = commit_with(keys, args)
  if fresh then
    redis.call('ZADD', key .. ':held', now_ms(), id)
    redis.call('ZADD', key .. ':due', '+inf', id)
  end
  return result
end

local function commit_text(keys, args) -- z, n, then as for commit
  local text = { table.remove(args, 1), table.remove(args, 1) }
  return (commit_with(keys, args, text))
end

-- An entry as {id, env, priority, {index, state, …}, {"<domain> <index>", next ms, …}}, and what it counts towards FIELDS_MAX.
local function read(key, id)
  local all = redis.call('HGETALL', key .. ':e:' .. id)
  local out = { id, '', '0', {}, redis.call('ZRANGE', key .. ':t:' .. id, 0, -1, 'WITHSCORES') }
  local states = out[4]
  for i = 1, #all, 2 do
    local field = all[i]
    if field == 'env' then
      out[2] = all[i + 1]
    elseif field == 'p' then
      out[3] = all[i + 1]
    elseif string.sub(field, 1, 2) == 's:' then
      states[#states + 1] = string.sub(field, 3)
      states[#states + 1] = all[i + 1]
    end
  end
  return out, #all + math.floor(#out[2] / 100)
end

-- The same for people, with {…, due ms or "inf" or "", leased, held}.
local function view(key, id)
  local out, size = read(key, id)
  out[6] = redis.call('ZSCORE', key .. ':due', id) or ''
  out[7] = is_leased(key, key .. ':e:' .. id, id) and 1 or 0
  out[8] = redis.call('ZSCORE', key .. ':held', id) and 1 or 0
  return out, size
end

-- The ids to lease: urgent ones first, those of low priority last.
local function choose(key, max, now)
  local due, prio = key .. ':due', key .. ':prio'
  if redis.call('EXISTS', prio) == 0 then return redis.call('ZRANGE', due, '-inf', now, 'BYSCORE', 'LIMIT', 0, max) end
  local ids, chosen, last = {}, {}, {}
  for _, id in ipairs(redis.call('ZRANGE', prio, '+inf', 1, 'BYSCORE', 'REV', 'LIMIT', 0, 256)) do
    local at = redis.call('ZSCORE', due, id)
    if #ids < max and at and tonumber(at) <= now then
      ids[#ids + 1] = id
      chosen[id] = true
    end
  end
  for _, id in ipairs(redis.call('ZRANGE', due, '-inf', now, 'BYSCORE', 'LIMIT', 0, max + 256)) do
    if #ids >= max then break end
    if not chosen[id] then
      local priority = redis.call('ZSCORE', prio, id)
      local list = priority and tonumber(priority) < 0 and last or ids
      list[#list + 1] = id
    end
  end
  for _, id in ipairs(last) do
    if #ids >= max then break end
    ids[#ids + 1] = id
  end
  return ids
end

-- args: max, lease ms, token, bytes of texts that the answer may carry. An entry may be followed by its text: …, z, n.
local function lease(keys, args)
  local key, now, room = keys[1], now_ms(), tonumber(args[4] or 0)
  local due, out, fields = key .. ':due', {}, 0
  for _, id in ipairs(choose(key, tonumber(args[1]), now)) do
    local entry = key .. ':e:' .. id
    if redis.call('EXISTS', entry) == 0 then
      redis.call('ZREM', due, id)
    elseif redis.call('ZSCORE', key .. ':held', id) then -- held while it was leased, and that lease has ended
      redis.call('HDEL', entry, 't')
      redis.call('ZADD', due, '+inf', id)
    else
      local one, size = read(key, id)
      redis.call('HSET', entry, 't', args[3])
      redis.call('ZADD', due, now + args[2], id)
      local length = room > 0 and redis.call('HSTRLEN', key .. ':b:' .. id, 'z') or 0
      if length > 0 and length <= TEXT_MAX and length <= room then
        local text = redis.call('HMGET', key .. ':b:' .. id, 'z', 'n')
        one[6], one[7] = text[1], text[2]
        room = room - length
      end
      out[#out + 1] = one
      fields = fields + size
      if fields > FIELDS_MAX then break end
    end
  end
  return out
end

local function extend(keys, args) -- id, token, lease ms
  if redis.call('HGET', keys[1] .. ':e:' .. args[1], 't') ~= args[2] then return lost() end
  redis.call('ZADD', keys[1] .. ':due', 'XX', now_ms() + args[3], args[1])
  return 0
end

-- Writes the counts; when nothing is left, the entry is removed.
local function settle(key, entry, id, open, owed)
  if open > 0 or owed > 0 then
    redis.call('HSET', entry, 'n', open, 'o', owed)
    return 0
  end
  redis.call('UNLINK', entry, key .. ':t:' .. id, key .. ':b:' .. id)
  redis.call('ZREM', key .. ':due', id)
  redis.call('ZREM', key .. ':held', id)
  redis.call('ZREM', key .. ':prio', id)
  remember(key, id, '')
  return GONE
end

-- The counts of an entry whose lease has this token; else nil and the answer.
local function counts(key, entry, id, token)
  local found = redis.call('HMGET', entry, 't', 'n', 'o')
  if found[1] == token then return tonumber(found[2]), tonumber(found[3] or 0) end
  if not found[2] and remembered(key, id) then return nil, GONE end
  return nil, lost()
end

-- args: id, token, then per recipient: index, open (1: to be tried again, 0: final), state JSON, next ms, kind of the report that is owed (0: none), domain.
local function record(keys, args)
  local key, id = keys[1], args[1]
  local entry, times = key .. ':e:' .. id, key .. ':t:' .. id
  local open, owed = counts(key, entry, id, args[2])
  if not open then return owed end
  for i = 3, #args, 6 do
    local index, domain = args[i], args[i + 5]
    if redis.call('HEXISTS', entry, 'd:' .. index) == 0 then -- final states stay
      redis.call('HSET', entry, 's:' .. index, args[i + 2])
      if args[i + 4] ~= '0' then
        owed = owed + redis.call('HSET', entry, 'o:' .. index, args[i + 4])
      elseif owed > 0 then
        owed = owed - redis.call('HDEL', entry, 'o:' .. index)
      end
      if args[i + 1] == '1' then
        redis.call('ZADD', times, args[i + 3], domain .. ' ' .. index)
      else
        redis.call('HSET', entry, 'd:' .. index, '1')
        redis.call('ZREM', times, domain .. ' ' .. index)
        open = open - 1
        if redis.call('HINCRBY', entry, 'c:' .. domain, -1) <= 0 then
          redis.call('HDEL', entry, 'c:' .. domain)
          redis.call('ZREM', key .. ':dom', domain .. ' ' .. id)
        end
      end
    end
  end
  return settle(key, entry, id, open, owed)
end

-- args: id, token, then per recipient: index, state JSON with nothing owed, kind of the report that was sent (0: whichever is owed).
local function reported(keys, args)
  local key, id = keys[1], args[1]
  local entry = key .. ':e:' .. id
  local open, owed = counts(key, entry, id, args[2])
  if not open then return owed end
  for i = 3, #args, 3 do
    local kind = redis.call('HGET', entry, 'o:' .. args[i])
    if kind and (args[i + 2] == '0' or args[i + 2] == kind) then
      redis.call('HDEL', entry, 'o:' .. args[i])
      redis.call('HSET', entry, 's:' .. args[i], args[i + 1])
      owed = owed - 1
    end
  end
  return settle(key, entry, id, open, owed)
end

-- Every deferred recipient is due now.
local function all_due(times)
  if redis.call('EXISTS', times) == 1 then redis.call('ZUNIONSTORE', times, 1, times, 'WEIGHTS', 0) end
end

local function release(keys, args) -- id, token
  local key, id = keys[1], args[1]
  local entry = key .. ':e:' .. id
  local found = redis.call('HMGET', entry, 't', 'y')
  if found[1] ~= args[2] then return lost() end
  if found[2] then all_due(key .. ':t:' .. id) end
  redis.call('HDEL', entry, 't', 'y')
  redis.call('ZADD', key .. ':due', 'XX', due_at(key, entry, id), id)
  return 0
end

local function bury(keys, args) -- id, token: a damaged entry is put aside
  local key, id = keys[1], args[1]
  local entry = key .. ':e:' .. id
  if redis.call('HGET', entry, 't') ~= args[2] then return lost() end
  drop_index(key, entry, id)
  redis.call('HDEL', entry, 't', 'y')
  redis.call('ZADD', key .. ':dead', now_ms(), id)
  return 0
end

local function retry(keys, args) -- id
  local key, id = keys[1], args[1]
  local entry = key .. ':e:' .. id
  if redis.call('EXISTS', entry) == 0 then return not_found() end
  if redis.call('ZREM', key .. ':dead', id) == 1 then
    add_domains(key, index_members(entry, id))
    redis.call('ZADD', key .. ':due', now_ms(), id)
  end
  all_due(key .. ':t:' .. id)
  if is_leased(key, entry, id) then
    redis.call('HSET', entry, 'y', '1')
  else
    redis.call('ZADD', key .. ':due', 'XX', redis.call('ZSCORE', key .. ':held', id) and '+inf' or now_ms(), id)
  end
  return 0
end

-- args: domain, id after which to go on. Answers how many entries are due now for it, and the id after which the next call goes on ("": that was all).
local function retry_domain(keys, args)
  local key, domain = keys[1], args[1]
  local members = redis.call('ZRANGE', key .. ':dom', '(' .. domain .. ' ' .. args[2], '(' .. domain .. '!', 'BYLEX', 'LIMIT', 0, 100)
  local count, fields, last = 0, 0, ''
  for _, member in ipairs(members) do
    local id = string.sub(member, #domain + 2)
    local times, due = key .. ':t:' .. id, {}
    local all = redis.call('ZRANGE', times, 0, -1)
    for _, one in ipairs(all) do
      if string.sub(one, 1, #domain + 1) == domain .. ' ' then
        due[#due + 1] = 0
        due[#due + 1] = one
      end
    end
    if #due > 0 then redis.call('ZADD', times, unpack(due)) end
    if not redis.call('ZSCORE', key .. ':held', id) and not is_leased(key, key .. ':e:' .. id, id) then
      redis.call('ZADD', key .. ':due', 'XX', now_ms(), id)
    end
    count = count + 1
    fields = fields + #all
    last = id
    if fields > FIELDS_MAX then break end
  end
  return { count, count > 0 and last or '' }
end

local function hold(keys, args) -- id, 1 or 0
  local key, id = keys[1], args[1]
  local entry, due = key .. ':e:' .. id, key .. ':due'
  if not redis.call('ZSCORE', due, id) then return not_found() end
  if args[2] == '1' then
    redis.call('ZADD', key .. ':held', 'NX', now_ms(), id)
    if not is_leased(key, entry, id) then redis.call('ZADD', due, '+inf', id) end
  elseif redis.call('ZREM', key .. ':held', id) == 1 and not is_leased(key, entry, id) then
    redis.call('ZADD', due, due_at(key, entry, id), id)
  end
  return 0
end

local function priority(keys, args) -- id, priority
  local key, id = keys[1], args[1]
  local entry = key .. ':e:' .. id
  if redis.call('EXISTS', entry) == 0 then return not_found() end
  if args[2] == '0' then
    redis.call('HDEL', entry, 'p')
    redis.call('ZREM', key .. ':prio', id)
  else
    redis.call('HSET', entry, 'p', args[2])
    redis.call('ZADD', key .. ':prio', args[2], id)
  end
  return 0
end

local function delete(keys, args) -- id; answers {the entry}
  local key, id = keys[1], args[1]
  local entry = key .. ':e:' .. id
  if redis.call('EXISTS', entry) == 0 then return not_found() end
  local out = read(key, id)
  drop_index(key, entry, id)
  redis.call('ZREM', key .. ':dead', id)
  redis.call('UNLINK', entry, key .. ':t:' .. id, key .. ':b:' .. id)
  remember(key, id, '-')
  return { out }
end

local function get(keys, args) -- id
  if redis.call('EXISTS', keys[1] .. ':e:' .. args[1]) == 0 then return not_found() end
  return { (view(keys[1], args[1])) }
end

-- args: due, held or dead; domain or ""; offset; max
local function list(keys, args)
  local key, domain = keys[1], args[2]
  local offset, max = tonumber(args[3]), tonumber(args[4])
  local out, fields, ids = {}, 0, {}
  if domain == '' then
    ids = redis.call('ZRANGE', key .. ':' .. args[1], offset, offset + max - 1)
  elseif args[1] == 'due' then
    local members = redis.call('ZRANGE', key .. ':dom', '(' .. domain .. ' ', '(' .. domain .. '!', 'BYLEX', 'LIMIT', offset, max)
    for _, member in ipairs(members) do ids[#ids + 1] = string.sub(member, #domain + 2) end
  else
    for _, id in ipairs(redis.call('ZRANGE', key .. ':' .. args[1], 0, SCAN_MAX - 1)) do
      if redis.call('ZSCORE', key .. ':dom', domain .. ' ' .. id) then
        if offset > 0 then
          offset = offset - 1
        else
          ids[#ids + 1] = id
        end
        if #ids >= max then break end
      end
    end
  end
  for _, id in ipairs(ids) do
    local one, size = view(key, id)
    out[#out + 1] = one
    fields = fields + size
    if fields > FIELDS_MAX then break end
  end
  return out
end

local function stat(keys, args) -- entries, held, dead, earliest
  local key = keys[1]
  local first = redis.call('ZRANGE', key .. ':due', 0, 0, 'WITHSCORES')[2]
  local held, dead = redis.call('ZCARD', key .. ':held'), redis.call('ZCARD', key .. ':dead')
  return { redis.call('ZCARD', key .. ':due') + dead, held, dead, first and first ~= 'inf' and first or '0' }
end

-- args: domain after which to go on. Answers domain, entries, …, up to 200 of them in alphabetical order.
local function domains(keys, args)
  local index, out, from = keys[1] .. ':dom', {}, '-'
  if args[1] ~= '' then from = '(' .. args[1] .. '!' end
  while #out < 400 do
    local first = redis.call('ZRANGE', index, from, '+', 'BYLEX', 'LIMIT', 0, 1)[1]
    if not first then break end
    local domain = string.match(first, '^(.*) ')
    from = '(' .. domain .. '!'
    out[#out + 1] = domain
    out[#out + 1] = redis.call('ZLEXCOUNT', index, '(' .. domain .. ' ', from)
  end
  return out
end

local function has(keys, args) -- ids
  local out = {}
  for i, id in ipairs(args) do out[i] = redis.call('EXISTS', keys[1] .. ':e:' .. id) end
  return out
end

redis.register_function('queue_commit', commit)
redis.register_function('queue_commit_held', commit_held)
redis.register_function('queue_commit_text', commit_text)
-- The same for a message whose body is stored already: it may be in some mailboxes, so the rest of it must be accepted.
-- What this adds at the memory limit is bounded by the bodies that were accepted before.
redis.register_function { function_name = 'queue_commit_stored', callback = commit, flags = { 'allow-oom' } }
redis.register_function { function_name = 'queue_lease', callback = lease, flags = { 'allow-oom' } }
redis.register_function { function_name = 'queue_extend', callback = extend, flags = { 'allow-oom' } }
redis.register_function { function_name = 'queue_record', callback = record, flags = { 'allow-oom' } }
redis.register_function { function_name = 'queue_reported', callback = reported, flags = { 'allow-oom' } }
redis.register_function { function_name = 'queue_release', callback = release, flags = { 'allow-oom' } }
redis.register_function { function_name = 'queue_bury', callback = bury, flags = { 'allow-oom' } }
redis.register_function { function_name = 'queue_retry', callback = retry, flags = { 'allow-oom' } }
redis.register_function { function_name = 'queue_retry_domain', callback = retry_domain, flags = { 'allow-oom' } }
redis.register_function { function_name = 'queue_hold', callback = hold, flags = { 'allow-oom' } }
redis.register_function { function_name = 'queue_priority', callback = priority, flags = { 'allow-oom' } }
redis.register_function { function_name = 'queue_delete', callback = delete, flags = { 'allow-oom' } }
redis.register_function { function_name = 'queue_get', callback = get, flags = { 'no-writes' } }
redis.register_function { function_name = 'queue_list', callback = list, flags = { 'no-writes' } }
redis.register_function { function_name = 'queue_stat', callback = stat, flags = { 'no-writes' } }
redis.register_function { function_name = 'queue_domains', callback = domains, flags = { 'no-writes' } }
redis.register_function { function_name = 'queue_has', callback = has, flags = { 'no-writes' } }
