#!lua name=lease
-- Leases by name: the declared key is a string, the holder's token, and ends by itself. All run at maxmemory: work that frees memory may stand on one.

local function lost() return redis.error_reply('LOST the lease is another\'s') end

local function acquire(keys, args) -- token, ms
  local holder = redis.call('GET', keys[1])
  if holder and holder ~= args[1] then return lost() end
  redis.call('SET', keys[1], args[1], 'PX', args[2])
  return 0
end

local function extend(keys, args) -- token, ms
  if redis.call('GET', keys[1]) ~= args[1] then return lost() end
  redis.call('SET', keys[1], args[1], 'PX', args[2])
  return 0
end

local function release(keys, args) -- token
  if redis.call('GET', keys[1]) ~= args[1] then return lost() end
  redis.call('DEL', keys[1])
  return 0
end

redis.register_function { function_name = 'lease_acquire', callback = acquire, flags = { 'allow-oom' } }
redis.register_function { function_name = 'lease_extend', callback = extend, flags = { 'allow-oom' } }
redis.register_function { function_name = 'lease_release', callback = release, flags = { 'allow-oom' } }
