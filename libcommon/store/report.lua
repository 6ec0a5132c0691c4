#!lua name=report
-- Reports, sent and received. The declared key is {rep}; from it come, for facts that are counted and not sent yet (a bucket is "<kind>|<start>|<domain>"):
--   {rep}:open           zset: bucket by the time when it is to be sent (s)
--   {rep}:meta:<bucket>  hash: m (the policy as it was last seen, JSON), end (of its time, s), due (s), t (token of who took it last)
--   {rep}:rows:<bucket>  hash: row (JSON) -> how often; "+": facts beyond the bound of rows
--   {rep}:starts         zset: start of a period by its end
--   {rep}:seen:<start>   set: the facts that were counted in this period; {rep}:seen:<start>:old the same, before it was full
--   {rep}:closed         facts before this time (s) are too late
--   {rep}:sent           hash: id -> what was sent (JSON); {rep}:sent:ids zset of its ids
--   {rep}:own            zset: ids of our own TLS reports by time
--   {rep}:failed:<domain>:<hour>  set: messages of which failure reports were sent
-- and for received reports:
--   {rep}:in:<id>        hash: k (kind), d (domain), g (digest), l (for listings, JSON), z (the report, zstd of JSON), n (its bytes)
--   {rep}:ids:<kind>, {rep}:ids:<kind>:<domain>, {rep}:ids  zsets of ids
--   {rep}:digests        hash: digest of sender, report id and domain -> id
--   {rep}:sum:<domain>:<day>      hash: row of the summary -> messages; {rep}:sums zset of "<domain>:<day>" by day

--   {rep}:total          rows of all buckets;  {rep}:bytes  bytes of all reports that are kept

-- Bounds: buckets, rows of one and of all; reports sent that are remembered; our own TLS reports; reports kept, by kind and in bytes; the summary; what a set of
-- things seen holds (an event comes again within seconds, not a million events later).
local OPEN_MAX, ROWS_MAX, TOTAL_MAX, SENT_MAX, OWN_MAX = 20000, 5000, 500000, 10000, 100000
local KEPT_MAX, BYTES_MAX = { dmarc = 100000, tls = 100000, failures = 10000, unreadable = 1000 }, 512 * 1024 * 1024
local SUMS_MAX, SUM_ROWS_MAX = 100000, 5000
local SEEN_MAX = 1000000
local WEEKS = 30 * 86400 -- counters whose report is never sent expire after 30 days

-- kind, time, start, end, due, domain, id, policy (JSON), rows… -> 1 counted; 0 seen before; -1 too late; -2 no room for another domain
local function count(keys, args)
  local key, kind, start, domain, id = keys[1], args[1], args[3], args[6], args[7]
  if tonumber(args[2]) < tonumber(redis.call('GET', key .. ':closed') or '0') then return -1 end
  if kind == 'tls' and redis.call('ZSCORE', key .. ':own', string.sub(id, 1, 26)) then return 0 end
  local bucket = kind .. '|' .. start .. '|' .. domain
  if not redis.call('ZSCORE', key .. ':open', bucket) and redis.call('ZCARD', key .. ':open') >= OPEN_MAX then return -2 end
  -- the random half of an id tells it from all others of its period
  local seen, short = key .. ':seen:' .. start, string.sub(kind, 1, 1) .. string.sub(id, -16)
  if redis.call('SISMEMBER', seen .. ':old', short) == 1 or redis.call('SADD', seen, short) == 0 then return 0 end
  redis.call('EXPIRE', seen, WEEKS)
  if redis.call('SCARD', seen) >= SEEN_MAX then redis.call('RENAME', seen, seen .. ':old') end
  redis.call('ZADD', key .. ':starts', args[4], start)
  redis.call('ZADD', key .. ':open', 'NX', args[5], bucket)
  redis.call('HSET', key .. ':meta:' .. bucket, 'm', args[8], 'end', args[4], 'due', args[5])
  redis.call('EXPIRE', key .. ':meta:' .. bucket, WEEKS)
  local rows = key .. ':rows:' .. bucket
  for i = 9, #args do
    local field = args[i]
    if redis.call('HEXISTS', rows, field) == 0 then
      if redis.call('HLEN', rows) >= ROWS_MAX or tonumber(redis.call('GET', key .. ':total') or '0') >= TOTAL_MAX then
        field = '+'
      else
        redis.call('INCR', key .. ':total')
      end
    end
    redis.call('HINCRBY', rows, field, 1)
  end
  redis.call('EXPIRE', rows, WEEKS)
  return 1
end

-- time: facts before it are no longer counted. It never decreases.
local function close(keys, args)
  local key = keys[1]
  if tonumber(args[1]) > tonumber(redis.call('GET', key .. ':closed') or '0') then redis.call('SET', key .. ':closed', args[1]) end
  for _, start in ipairs(redis.call('ZRANGE', key .. ':starts', '-inf', args[1], 'BYSCORE', 'LIMIT', 0, 100)) do
    redis.call('UNLINK', key .. ':seen:' .. start, key .. ':seen:' .. start .. ':old')
    redis.call('ZREM', key .. ':starts', start)
  end
  return 1
end

-- now, lease (s), token -> {bucket, policy, end, due, {row, count, …}} of a closed period that is due, for this time ours; or {}
local function take(keys, args)
  local key, closed = keys[1], tonumber(redis.call('GET', keys[1] .. ':closed') or '0')
  for _, bucket in ipairs(redis.call('ZRANGE', key .. ':open', '-inf', args[1], 'BYSCORE', 'LIMIT', 0, 50)) do
    local meta = redis.call('HMGET', key .. ':meta:' .. bucket, 'm', 'end', 'due')
    if not meta[1] then
      redis.call('ZREM', key .. ':open', bucket)
    elseif tonumber(meta[2]) <= closed then
      redis.call('ZADD', key .. ':open', args[1] + args[2], bucket)
      redis.call('HSET', key .. ':meta:' .. bucket, 't', args[3])
      return { bucket, meta[1], meta[2], meta[3], redis.call('HGETALL', key .. ':rows:' .. bucket) }
    end
  end
  return {}
end

local function put_off(keys, args) -- bucket, until when (s), token
  if redis.call('HGET', keys[1] .. ':meta:' .. args[1], 't') ~= args[3] then return redis.error_reply('LOST the bucket is another\'s') end
  return redis.call('ZADD', keys[1] .. ':open', 'XX', 'CH', args[2], args[1])
end

local function record_sent(key, id, what)
  redis.call('HSET', key .. ':sent', id, what)
  redis.call('ZADD', key .. ':sent:ids', 0, id)
  local over = redis.call('ZCARD', key .. ':sent:ids') - SENT_MAX
  if over > 0 then
    for _, old in ipairs(redis.call('ZRANGE', key .. ':sent:ids', 0, over - 1)) do redis.call('HDEL', key .. ':sent', old) end
    redis.call('ZREMRANGEBYRANK', key .. ':sent:ids', 0, over - 1)
  end
end

-- bucket, then id and what (JSON) of each report that was sent of it -> 1, or 0 when it was done before
local function sent(keys, args)
  local key = keys[1]
  if redis.call('ZREM', key .. ':open', args[1]) == 0 then return 0 end
  local left = redis.call('DECRBY', key .. ':total', redis.call('HLEN', key .. ':rows:' .. args[1]))
  redis.call('UNLINK', key .. ':meta:' .. args[1], key .. ':rows:' .. args[1])
  if left < 0 or redis.call('ZCARD', key .. ':open') == 0 then redis.call('SET', key .. ':total', 0) end
  for i = 2, #args, 2 do record_sent(key, args[i], args[i + 1]) end
  return 1
end

-- domain, hour, message id, most in an hour, seconds to remember -> 1: a failure report may be sent
local function failure_allowed(keys, args)
  local set = keys[1] .. ':failed:' .. args[1] .. ':' .. args[2]
  if redis.call('SCARD', set) >= tonumber(args[4]) or redis.call('SADD', set, args[3]) == 0 then return 0 end
  redis.call('EXPIRE', set, args[5])
  return 1
end

local function failure_sent(keys, args) -- id, what
  record_sent(keys[1], args[1], args[2])
  return 1
end

local function own(keys, args) -- id, now
  redis.call('ZADD', keys[1] .. ':own', args[2], args[1])
  redis.call('ZREMRANGEBYRANK', keys[1] .. ':own', 0, -OWN_MAX - 1)
  return 1
end

local function drop(key, id)
  local entry = redis.call('HMGET', key .. ':in:' .. id, 'k', 'd', 'g')
  if entry[1] then
    redis.call('ZREM', key .. ':ids:' .. entry[1], id)
    redis.call('ZREM', key .. ':ids:' .. entry[1] .. ':' .. entry[2], id)
    if entry[3] ~= '' then redis.call('HDEL', key .. ':digests', entry[3]) end
    redis.call('DECRBY', key .. ':bytes', redis.call('HSTRLEN', key .. ':in:' .. id, 'z'))
  end
  redis.call('UNLINK', key .. ':in:' .. id)
  redis.call('ZREM', key .. ':ids', id)
end

-- id, kind, domain, digest, listing, report, its bytes, day, then row and messages of the summary… -> 1 kept; 0 was here before; 2 the same report came in another mail
local function keep(keys, args)
  local key, id, kind, domain = keys[1], args[1], args[2], args[3]
  if redis.call('EXISTS', key .. ':in:' .. id) == 1 then return 0 end
  if args[4] ~= '' and redis.call('HSETNX', key .. ':digests', args[4], id) == 0 then return 2 end
  redis.call('HSET', key .. ':in:' .. id, 'k', kind, 'd', domain, 'g', args[4], 'l', args[5], 'z', args[6], 'n', args[7])
  redis.call('ZADD', key .. ':ids', 0, id)
  redis.call('ZADD', key .. ':ids:' .. kind, 0, id)
  redis.call('ZADD', key .. ':ids:' .. kind .. ':' .. domain, 0, id)
  local bytes = redis.call('INCRBY', key .. ':bytes', #args[6])
  local sum = key .. ':sum:' .. domain .. ':' .. args[8]
  local room = redis.call('EXISTS', sum) == 1 or redis.call('ZCARD', key .. ':sums') < SUMS_MAX
  for i = 9, room and #args or 0, 2 do
    local field = args[i]
    if redis.call('HEXISTS', sum, field) == 0 and redis.call('HLEN', sum) >= SUM_ROWS_MAX then field = '+' end
    redis.call('HINCRBY', sum, field, args[i + 1])
  end
  if room and #args > 8 then redis.call('ZADD', key .. ':sums', args[8], domain .. ':' .. args[8]) end
  if redis.call('ZCARD', key .. ':ids:' .. kind) > KEPT_MAX[kind] then
    for _, old in ipairs(redis.call('ZRANGE', key .. ':ids:' .. kind, 0, 9)) do drop(key, old) end
  end
  if bytes > BYTES_MAX then
    for _, old in ipairs(redis.call('ZRANGE', key .. ':ids', 0, 99)) do drop(key, old) end
  end
  return 1
end

-- first id to stay, first day to stay, most at once -> how many went
local function forget(keys, args)
  local key = keys[1]
  local old = redis.call('ZRANGE', key .. ':ids', '-', '(' .. args[1], 'BYLEX', 'LIMIT', 0, args[3])
  for _, id in ipairs(old) do drop(key, id) end
  local days = redis.call('ZRANGE', key .. ':sums', '-inf', '(' .. args[2], 'BYSCORE', 'LIMIT', 0, args[3])
  for _, day in ipairs(days) do
    redis.call('UNLINK', key .. ':sum:' .. day)
    redis.call('ZREM', key .. ':sums', day)
  end
  return #old + #days
end

-- ids, newest first
local function page(key, after, limit)
  return redis.call('ZRANGE', key, after == '' and '+' or '(' .. after, '-', 'BYLEX', 'REV', 'LIMIT', 0, limit)
end

local function list(keys, args) -- kind, domain or '', after or '', most -> {id, listing, …}
  local out = {}
  for _, id in ipairs(page(keys[1] .. ':ids:' .. args[1] .. (args[2] ~= '' and ':' .. args[2] or ''), args[3], args[4])) do
    out[#out + 1] = id
    out[#out + 1] = redis.call('HGET', keys[1] .. ':in:' .. id, 'l')
  end
  return out
end

local function sent_list(keys, args) -- after or '', most
  local out = {}
  for _, id in ipairs(page(keys[1] .. ':sent:ids', args[1], args[2])) do
    out[#out + 1] = id
    out[#out + 1] = redis.call('HGET', keys[1] .. ':sent', id)
  end
  return out
end

local function read(keys, args) -- id -> {kind, listing, report, its bytes}
  local found = redis.call('HMGET', keys[1] .. ':in:' .. args[1], 'k', 'l', 'z', 'n')
  if not found[1] then return redis.error_reply('NOTFOUND no such report') end
  return found
end

local function summary(keys, args) -- domain, first day, last day -> {row, messages, …}, a row once a day
  local out = {}
  for day = tonumber(args[2]), tonumber(args[3]) do
    for _, value in ipairs(redis.call('HGETALL', keys[1] .. ':sum:' .. args[1] .. ':' .. day)) do out[#out + 1] = value end
    if #out > 200000 then break end
  end
  return out
end

-- Functions that make the store grow are refused at maxmemory: new facts and received reports wait. Functions that end or remove something run.
redis.register_function('report_count', count)
redis.register_function { function_name = 'report_close', callback = close, flags = { 'allow-oom' } }
redis.register_function { function_name = 'report_take', callback = take, flags = { 'allow-oom' } }
redis.register_function { function_name = 'report_put_off', callback = put_off, flags = { 'allow-oom' } }
redis.register_function { function_name = 'report_sent', callback = sent, flags = { 'allow-oom' } }
redis.register_function('report_failure_allowed', failure_allowed)
redis.register_function { function_name = 'report_failure_sent', callback = failure_sent, flags = { 'allow-oom' } }
redis.register_function { function_name = 'report_own', callback = own, flags = { 'allow-oom' } }
redis.register_function('report_keep', keep)
redis.register_function { function_name = 'report_forget', callback = forget, flags = { 'allow-oom' } }
redis.register_function { function_name = 'report_list', callback = list, flags = { 'no-writes' } }
redis.register_function { function_name = 'report_sent_list', callback = sent_list, flags = { 'no-writes' } }
redis.register_function { function_name = 'report_read', callback = read, flags = { 'no-writes' } }
redis.register_function { function_name = 'report_summary', callback = summary, flags = { 'no-writes' } }
