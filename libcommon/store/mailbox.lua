#!lua name=mailbox
-- The mailboxes. The declared key is {u:<user>}; all others are made from it: mailbox.h says what each holds.
-- {u}:b is blob id -> "<count>\n<name>\n<name>…": how many messages use the blob, and the names under which it is held.
-- A name is "<rcpt>/<attempt>" ("/" for an APPEND); the reference in the blob is "u:<user>/<name>". {u}:x has "<blob id>/<name>".
-- A record is little-endian: uid u32, size u32, modseq u64, flags u32 and u32 (low, high), date i64, blob c26; then version u8 (2), the number of
-- bytes that follow u8, savedate u32, variant u32, thread u64, and tagged fields (none yet): tag u8, length u8, bytes. Version 1 ended after the
-- blob: such a record is told with zeros in the new fields, and is written anew when it changes.
-- What is cached of a message is in a hash for each column, so that a reader gets only what it asked for (COLUMNS).
-- What messages and folders were before a change is kept for some time (the journal, {u}:l), so that it can be undone: mailbox_undo.h.
-- Every message that is added, changed or removed gets a modseq of its own, so that a reader can page by modseq.
-- No Function handles more than a few hundred messages at once: the C side calls it again until all are done.

local SEEN, DELETED = 1, 8
local KEYWORDS_MAX, FOLDERS_MAX = 56, 1000
local DEDUPE_SECONDS = 10 * 86400
local TRIM_EVERY = 16 -- deliveries
local NAMES_MAX = 8 -- names of one recipient under which a blob is held
local DELETE_FOLDERS = 20 -- folders that one step of a deletion removes
local FIRST, REST = '<I4I4I8I4I4i8c26', '<BBI4I4I8'
local FIRST_BYTES, VERSION, REST_BYTES = 58, 2, 16
local WITHOUT_REST = '\2\16\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' -- VERSION, REST_BYTES, zeros
local COLUMNS = { 'p', 'e', 's', 'h', 'k', 'w' } -- prefix; of the listing: envelope, structure, header fields, keys, preview
local THREADS_MAX = 50000 -- message ids of each of the two generations that are remembered
local VANISHED_MAX = 20000
local ANNOTATIONS_MAX, ANNOTATION_BYTES_MAX = 1000, 1048576 -- of a user, as in mailbox_metadata.lua
local FREE = '(' -- a keyword's place that can be used again; no flag has such a name
local COPY_SECONDS, COPIES_MAX = 10, 64 -- after which a copy without a further step was given up; copies of one user at the same time
local MANY = 1000 -- arguments of one command
-- Bounds of an account's journal: its bytes (those of flags count FLAGS_WEIGH times, because a reader needs more memory for them), those of the messages that it keeps, and how many entries one Function gives up when it is over one of them.
local JOURNAL_BYTES, KEPT_BYTES, GIVE_UP = 32 * 1048576, 1073741824, 4
local FLAGS_WEIGH = 4
local FOLDER_FIELDS = { 'name', 'uidvalidity', 'uidnext', 'modseq', 'messages', 'unseen', 'bytes', 'subscribed', 'use', 'keywords', 'floor', 'keygen' }

local function refuse(text) return redis.error_reply(text) end
local function text_of(n) return string.format('%.0f', n) end
local function seconds() return tonumber(redis.call('TIME')[1]) end
local function milliseconds()
  local now = redis.call('TIME')
  return now[1] .. string.format('%03d', math.floor(now[2] / 1000))
end
-- Whether the account was deleted: its mailbox is never created again.
local function is_gone(u) return redis.call('EXISTS', u .. ':gone') == 1 end
local GONE = 'NOTFOUND the account was deleted'
-- A record of any version as one of the present version.
local function present_version(record) return #record == FIRST_BYTES and record .. WITHOUT_REST or record end
-- All keys of a folder but its records; kept: and but what is needed to make its messages again.
local function folder_keys(fk, kept)
  local keys = { fk, fk .. ':q', fk .. ':v', fk .. ':t' }
  if not kept then keys[#keys + 1] = fk .. ':c' end
  for _, column in ipairs(COLUMNS) do
    if not kept or column ~= 'p' then keys[#keys + 1] = fk .. ':' .. column end
  end
  return unpack(keys)
end

-- The journal

-- {u}:l is a stream, an entry for each change, whose id begins with its time (ms). k, f, v: what changed, the folder's id, and what was before:
--   f  flags: of each message uid u32, low u32, high u32
--   r  removed messages: of each the record's length u16, the prefix's length u32, record, prefix. The journal uses their bodies
--   m  the same, moved to another folder
--   d  the folder was deleted: name, uidvalidity, special use, subscribed, keywords, time when it was made, messages, bytes, each with its length u32 before
--      it. Its records and prefixes stay where they were; k has its id
--   n  it was renamed: its name
-- {u}:i: undo (s: of this account instead of the site's), undo_from (ms: the journal is complete since then), kept_messages, kept_bytes, journal_bytes.

-- For how long (s) changes can be undone; 0: not at all. site: the site's setting; NOW: never.
local NOW, COPIES = 'now', 'copies' -- COPIES: never, because they are taken back as if they had never been
local function undo_of(u, site)
  if site == NOW or site == COPIES then return 0 end
  return tonumber(redis.call('HGET', u .. ':i', 'undo') or site or 0)
end

-- Messages and bytes that the journal keeps, and its own bytes, change by these.
local function journal_count(u, messages, bytes, own)
  local i = u .. ':i'
  if messages ~= 0 then redis.call('HINCRBY', i, 'kept_messages', text_of(messages)) end
  if bytes ~= 0 then redis.call('HINCRBY', i, 'kept_bytes', text_of(bytes)) end
  redis.call('HINCRBY', i, 'journal_bytes', text_of(own))
end

local function texts_pack(list)
  local out = {}
  for at, text in ipairs(list) do out[at] = struct.pack('<I4', #text) .. text end
  return table.concat(out)
end

local function texts_unpack(packed)
  local out, at = {}, 1
  while at + 3 <= #packed do
    local n = struct.unpack('<I4', packed, at)
    out[#out + 1] = string.sub(packed, at + 4, at + 3 + n)
    at = at + 4 + n
  end
  return out
end

-- The records and prefixes of an entry r or m.
local function removed_unpack(packed)
  local records, prefixes, at = {}, {}, 1
  while at + 5 <= #packed do
    local n, m = struct.unpack('<I2I4', packed, at)
    records[#records + 1] = string.sub(packed, at + 6, at + 5 + n)
    prefixes[#records] = string.sub(packed, at + 6 + n, at + 5 + n + m)
    at = at + 6 + n + m
  end
  return records, prefixes
end

local function body_of(record) return string.sub(record, 33, 58) end

local function bodies_of(records)
  local ids = {}
  for at, record in ipairs(records) do ids[at] = body_of(record) end
  return ids
end

-- Folders

local function folder_make(u, name, use)
  local i = u .. ':i'
  local fid = redis.call('HINCRBY', i, 'next_folder', 1)
  local last = tonumber(redis.call('HGET', i, 'uidvalidity') or '0')
  local uidvalidity = math.max(seconds(), last + 1)
  local modseq = redis.call('HINCRBY', i, 'modseq', 1)
  local subscribed = redis.call('SREM', u .. ':s', name) == 1 and 2 or 1
  redis.call('HSET', i, 'uidvalidity', uidvalidity)
  redis.call('HSET', u .. ':f', name, fid)
  redis.call('HSET', u .. ':f:' .. fid, 'name', name, 'uidvalidity', uidvalidity, 'uidnext', 1, 'modseq', modseq, 'messages', 0, 'unseen', 0, 'bytes', 0,
    'subscribed', subscribed, 'use', use, 'keywords', '', 'floor', 0, 'recent', 1, 'made', seconds())
  return fid, uidvalidity
end

-- A user's first use.
local function user_make(u)
  folder_make(u, 'INBOX', '')
  folder_make(u, 'Drafts', '\\Drafts')
  folder_make(u, 'Sent', '\\Sent')
  folder_make(u, 'Junk', '\\Junk')
  folder_make(u, 'Trash', '\\Trash')
  folder_make(u, 'Archive', '\\Archive')
end

local function user_ready(u)
  if redis.call('HEXISTS', u .. ':f', 'INBOX') == 0 then user_make(u) end
end

-- Makes the missing parents of a name.
local function parents_make(u, name)
  local at = string.find(name, '/', 1, true)
  while at do
    local parent = string.sub(name, 1, at - 1)
    if redis.call('HEXISTS', u .. ':f', parent) == 0 then folder_make(u, parent, '') end
    at = string.find(name, '/', at + 1, true)
  end
end

local function levels(name)
  local _, slashes = string.gsub(name, '/', '')
  return slashes + 1
end

-- What is answered of a folder: its id, its fields, and how many messages have \Deleted.
local function folder_answer(u, fid)
  local fk = u .. ':f:' .. fid
  return { tonumber(fid), redis.call('HMGET', fk, unpack(FOLDER_FIELDS)), redis.call('SCARD', fk .. ':t') }
end

-- A page of folders, by their ids. Answers more, and the folders.
local function folders(keys, args) -- id after which to go on, max
  local u, after, ids, out = keys[1], tonumber(args[1]), {}, {}
  if is_gone(u) then return refuse(GONE) end
  user_ready(u)
  for _, fid in ipairs(redis.call('HVALS', u .. ':f')) do
    if tonumber(fid) > after then ids[#ids + 1] = tonumber(fid) end
  end
  table.sort(ids)
  for n = 1, math.min(#ids, tonumber(args[2])) do out[n] = folder_answer(u, text_of(ids[n])) end
  return { #ids > #out and 1 or 0, out }
end

-- One folder; nothing when there is none of this name.
local function folder(keys, args) -- name
  local u = keys[1]
  if is_gone(u) then return refuse(GONE) end
  user_ready(u)
  local fid = redis.call('HGET', u .. ':f', args[1])
  return fid and folder_answer(u, fid) or {}
end

local function folder_create(keys, args) -- name, special use
  local u, name = keys[1], args[1]
  if is_gone(u) then return refuse(GONE) end
  user_ready(u)
  if redis.call('HEXISTS', u .. ':f', name) == 1 then return refuse('EXISTS there is such a folder') end
  if redis.call('HLEN', u .. ':f') + levels(name) > FOLDERS_MAX then return refuse('FULL too many folders') end
  parents_make(u, name)
  local fid, uidvalidity = folder_make(u, name, args[2])
  return { fid, uidvalidity }
end

local function has_children(u, name)
  local prefix = name .. '/'
  for _, other in ipairs(redis.call('HKEYS', u .. ':f')) do
    if string.sub(other, 1, #prefix) == prefix then return true end
  end
  return false
end

-- The annotations of the INBOX stay with it when its messages go to another folder (RFC 5464 §4.1), as far as there is room (mailbox_metadata.lua).
local function annotations_copy(u, from, to)
  local a, prefix = u .. ':a', from .. '/'
  for _, field in ipairs(redis.call('HKEYS', a)) do
    if string.sub(field, 1, #prefix) == prefix then
      local copy, value = to .. string.sub(field, #prefix), redis.call('HGET', a, field)
      local bytes = redis.call('HGET', a, 'b') + #copy + #value
      if redis.call('HLEN', a) >= ANNOTATIONS_MAX or bytes > ANNOTATION_BYTES_MAX then return end
      redis.call('HSET', a, copy, value, 'b', string.format('%.0f', bytes))
    end
  end
end

-- A subscription that was asked for (2) outlives its folder, one that came with the folder (1) does not.
local function folder_subscribe(keys, args) -- name, 1 or 0
  local u = keys[1]
  if is_gone(u) then return refuse(GONE) end
  user_ready(u)
  local fid = redis.call('HGET', u .. ':f', args[1])
  if not fid and args[2] == '1' then return refuse('NOTFOUND no such folder') end
  if fid then redis.call('HSET', u .. ':f:' .. fid, 'subscribed', args[2] == '1' and 2 or 0) else redis.call('SREM', u .. ':s', args[1]) end
  return 1
end

local function subscribed_gone(keys) return redis.call('SMEMBERS', keys[1] .. ':s') end

-- Blobs

-- How this user holds blobs: blob id -> {count, names}, of each of the ids, as it is before a change. One command for all.
local function blob_holds(u, ids)
  local holds = {}
  for at, held in ipairs(redis.call('HMGET', u .. ':b', unpack(ids))) do
    local n, names = string.match(held or '0', '^(%d+)(.*)$')
    holds[ids[at]] = { tonumber(n), names }
  end
  return holds
end

-- One more message uses a blob; name: under which it is held.
local function blob_take(u, id, name)
  if redis.call('HSETNX', u .. ':b', id, '1\n' .. name) == 1 then return end
  local hold = blob_holds(u, { id })[id]
  local names = hold[2]
  if not string.find(names .. '\n', '\n' .. name .. '\n', 1, true) then names = names .. '\n' .. name end
  redis.call('HSET', u .. ':b', id, text_of(hold[1] + 1) .. names)
end

-- Of each of the ids one more message: copies, which share what their sources are held under.
local function blob_copy_all(u, ids)
  if #ids == 0 then return end
  local holds, fields = blob_holds(u, ids), {}
  for _, id in ipairs(ids) do holds[id][1] = holds[id][1] + 1 end
  for id, hold in pairs(holds) do
    fields[#fields + 1] = id
    fields[#fields + 1] = text_of(hold[1]) .. hold[2]
  end
  redis.call('HSET', u .. ':b', unpack(fields))
end

-- Notes what is to be released, "<id>/<name>", in x.
local function note_all(u, members)
  for at = 1, #members, MANY do redis.call('SADD', u .. ':x', unpack(members, at, math.min(at + MANY - 1, #members))) end
end

-- Of each of the ids one message less; a blob that nobody uses any more is added to gone as "<id>/<name>" and noted in x until it is released.
local function blob_drop_all(u, ids, gone)
  if #ids == 0 then return end
  local holds, fields, unused = blob_holds(u, ids), {}, {}
  for _, id in ipairs(ids) do holds[id][1] = holds[id][1] - 1 end
  for id, hold in pairs(holds) do
    if hold[1] > 0 then
      fields[#fields + 1] = id
      fields[#fields + 1] = text_of(hold[1]) .. hold[2]
    elseif hold[2] ~= '' then
      unused[#unused + 1] = id
      for name in string.gmatch(hold[2], '\n([^\n]*)') do gone[#gone + 1] = id .. '/' .. name end
    end
  end
  if #fields > 0 then redis.call('HSET', u .. ':b', unpack(fields)) end
  if #unused > 0 then redis.call('HDEL', u .. ':b', unpack(unused)) end
  note_all(u, gone)
end

-- An entry of the journal is given up: {id, {k, …, f, …, v, …}}. Bodies that nothing uses any more are added to gone.
local function journal_drop(u, entry, gone)
  local kind, fid, packed = entry[2][2], entry[2][4], entry[2][6]
  local fk, messages, bytes = u .. ':f:' .. fid, 0, 0
  if kind == 'r' or kind == 'm' then
    local records = removed_unpack(packed)
    for _, record in ipairs(records) do messages, bytes = messages + 1, bytes + struct.unpack('<I4', record, 5) end
    if kind == 'm' then messages, bytes = 0, 0 end
    blob_drop_all(u, bodies_of(records), gone)
  elseif kind == 'd' and redis.call('SREM', u .. ':k', fid) == 1 then
    local folder = texts_unpack(packed)
    messages, bytes = tonumber(folder[7]), tonumber(folder[8])
    redis.call('UNLINK', fk .. ':p', fk .. ':c')
    redis.call('SADD', u .. ':g', fid)
  end
  journal_count(u, -messages, -bytes, -#packed * (kind == 'f' and FLAGS_WEIGH or 1))
  redis.call('XDEL', u .. ':l', entry[1])
  redis.call('HSET', u .. ':i', 'undo_from', (string.match(entry[1], '^%d+')))
end

-- Gives up at most max entries: those before a time (ms), and the oldest ones while the journal is over a bound. Answers whether there may be more.
local function journal_trim(u, before, max, gone)
  local entries = redis.call('XRANGE', u .. ':l', '-', '+', 'COUNT', max)
  for _, entry in ipairs(entries) do
    local h = redis.call('HMGET', u .. ':i', 'journal_bytes', 'kept_bytes')
    local over = tonumber(h[1] or '0') > JOURNAL_BYTES or tonumber(h[2] or '0') > KEPT_BYTES
    if not over and tonumber((string.match(entry[1], '^%d+'))) >= before then return false end
    journal_drop(u, entry, gone)
  end
  if #entries < max then redis.call('UNLINK', u .. ':l') end -- an empty stream would stay
  return #entries == max
end

-- Adds an entry. Whatever goes over a bound for it is added to gone, and noted in x.
local function journal(u, kind, fid, packed, messages, bytes, gone)
  redis.call('XADD', u .. ':l', '*', 'k', kind, 'f', fid, 'v', packed)
  journal_count(u, messages, bytes, #packed * (kind == 'f' and FLAGS_WEIGH or 1))
  local h = redis.call('HMGET', u .. ':i', 'journal_bytes', 'kept_bytes')
  if tonumber(h[1]) > JOURNAL_BYTES or tonumber(h[2] or '0') > KEPT_BYTES then journal_trim(u, 0, GIVE_UP, gone) end
end

-- A change that nothing can undo: no state from before it can be had.
local function not_undone(u) redis.call('HSET', u .. ':i', 'undo_from', milliseconds()) end

-- Folders removed and renamed

local function folder_delete(keys, args) -- name, undo; the records stay in the journal, or until the sweep has let go of their blobs
  local u, name = keys[1], args[1]
  if name == 'INBOX' then return refuse('INVALID the INBOX stays') end
  local fid = redis.call('HGET', u .. ':f', name)
  if not fid then return refuse('NOTFOUND no such folder') end
  if has_children(u, name) then return refuse('CONFLICT the folder has children') end
  local fk = u .. ':f:' .. fid
  local h = redis.call('HMGET', fk, 'messages', 'bytes', 'subscribed')
  if h[3] == '2' and redis.call('SCARD', u .. ':s') < FOLDERS_MAX then redis.call('SADD', u .. ':s', name) end
  redis.call('HINCRBY', u .. ':i', 'messages', string.format('%d', -tonumber(h[1]))) -- "-0" is no number to Redis
  redis.call('HINCRBY', u .. ':i', 'bytes', string.format('%d', -tonumber(h[2])))
  redis.call('HDEL', u .. ':f', name)
  if undo_of(u, args[2]) > 0 then
    local f = redis.call('HMGET', fk, 'name', 'uidvalidity', 'use', 'subscribed', 'keywords', 'made', 'messages', 'bytes')
    f[6] = f[6] or '0' -- of a folder that was made before there was a journal
    redis.call('SADD', u .. ':k', fid)
    redis.call('UNLINK', folder_keys(fk, true))
    journal(u, 'd', fid, texts_pack(f), tonumber(h[1]), tonumber(h[2]), {})
  else
    not_undone(u)
    redis.call('UNLINK', folder_keys(fk))
    if redis.call('EXISTS', fk .. ':m') == 1 then redis.call('SADD', u .. ':g', fid) end
  end
  return 1
end

local function folder_rename(keys, args) -- from, to, undo
  local u, from, to = keys[1], args[1], args[2]
  local f = u .. ':f'
  if is_gone(u) then return refuse(GONE) end
  user_ready(u)
  local fid = redis.call('HGET', f, from)
  if not fid then return refuse('NOTFOUND no such folder') end
  if redis.call('HEXISTS', f, to) == 1 then return refuse('EXISTS there is such a folder') end
  if string.sub(to, 1, #from + 1) == from .. '/' and from ~= 'INBOX' then return refuse('INVALID a folder cannot move into itself') end
  if redis.call('HLEN', f) + levels(to) > FOLDERS_MAX then return refuse('FULL too many folders') end
  local moved = { { from, to, fid } }
  if from ~= 'INBOX' then
    local all, prefix = redis.call('HGETALL', f), from .. '/'
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, #prefix) == prefix then
        local target = to .. '/' .. string.sub(all[i], #prefix + 1)
        if #target > 1020 then return refuse('INVALID a name would be too long') end
        if redis.call('HEXISTS', f, target) == 1 then return refuse('EXISTS there is such a folder') end
        moved[#moved + 1] = { all[i], target, all[i + 1] }
      end
    end
  end
  parents_make(u, to)
  local undo = undo_of(u, args[3])
  if undo == 0 then not_undone(u) end
  for _, one in ipairs(moved) do
    redis.call('HDEL', f, one[1])
    if undo > 0 then journal(u, 'n', one[3], one[1], 0, 0, {}) end
  end
  for _, one in ipairs(moved) do
    redis.call('HSET', f, one[2], one[3])
    redis.call('HSET', f .. ':' .. one[3], 'name', one[2])
    if redis.call('SREM', u .. ':s', one[2]) == 1 then redis.call('HSET', f .. ':' .. one[3], 'subscribed', 2) end
  end
  if from == 'INBOX' then annotations_copy(u, fid, folder_make(u, 'INBOX', '')) end -- its messages went along; a new, empty one takes its place
  return 1
end

-- Deliveries and blobs

-- A further attempt at a delivery that happened before: its reference is kept as well, since whoever made the first
-- attempt may have let go of his when he got no answer. Answers 1 when the reference is not needed (the message is gone
-- by now, or enough attempts hold the blob): it is noted in x then, and the caller releases it.
local function blob_keep(u, id, rcpt, attempt)
  local held, name, count = redis.call('HGET', u .. ':b', id), rcpt .. '/' .. attempt, 0
  if held then
    for other in string.gmatch(held, '\n([^\n]*)') do
      if other == name then return 0 end
      if string.sub(other, 1, #rcpt + 1) == rcpt .. '/' then count = count + 1 end
    end
    if count < NAMES_MAX then
      redis.call('HSET', u .. ':b', id, held .. '\n' .. name)
      return 0
    end
  end
  redis.call('SADD', u .. ':x', id .. '/' .. name)
  return 1
end

-- Which of these names do not hold the blob.
local function unheld(keys, args) -- blob id, names
  local held, out = (redis.call('HGET', keys[1] .. ':b', args[1]) or '') .. '\n', {}
  for at = 2, #args do
    if not string.find(held, '\n' .. args[at] .. '\n', 1, true) then out[#out + 1] = args[at] end
  end
  return out
end

local function released(keys, args) -- members of x
  return redis.call('SREM', keys[1] .. ':x', unpack(args))
end

-- Lets go of up to max records of deleted folders; answers what is to be released, also what an earlier caller did not come to.
local function sweep(keys, args) -- max
  local u, max, gone = keys[1], tonumber(args[1]), {}
  local fid = redis.call('SRANDMEMBER', u .. ':g')
  if fid then
    local m = u .. ':f:' .. fid .. ':m'
    local fields = redis.call('HRANDFIELD', m, max)
    if #fields > 0 then
      local ids = {}
      for at, record in ipairs(redis.call('HMGET', m, unpack(fields))) do ids[at] = body_of(record) end
      blob_drop_all(u, ids, gone)
      redis.call('HDEL', m, unpack(fields))
    else
      redis.call('SREM', u .. ':g', fid)
    end
  end
  local more = redis.call('EXISTS', u .. ':g')
  if #gone == 0 then gone = redis.call('SRANDMEMBER', u .. ':x', max) end
  return { gone, more }
end

-- One step of a deletion; called until it answers an empty list and 0. The tombstone is set first, so that no new mail is accepted.
local function delete_user(keys, args) -- max, seconds that the tombstone stays; answers what is to be released, more
  local u = keys[1]
  redis.call('SET', u .. ':gone', seconds(), 'EX', args[2])
  local some = redis.call('HRANDFIELD', u .. ':f', DELETE_FOLDERS, 'WITHVALUES')
  for at = 1, #some, 2 do
    local fk = u .. ':f:' .. some[at + 1]
    redis.call('UNLINK', fk .. ':m', folder_keys(fk))
    redis.call('HDEL', u .. ':f', some[at])
  end
  for _, fid in ipairs(redis.call('SRANDMEMBER', u .. ':g', DELETE_FOLDERS)) do
    redis.call('UNLINK', u .. ':f:' .. fid .. ':m')
    redis.call('SREM', u .. ':g', fid)
  end
  for _, fid in ipairs(redis.call('SRANDMEMBER', u .. ':k', DELETE_FOLDERS)) do
    local fk = u .. ':f:' .. fid
    redis.call('UNLINK', fk .. ':m', fk .. ':p', fk .. ':c')
    redis.call('SREM', u .. ':k', fid)
  end
  redis.call('UNLINK', u .. ':i', u .. ':d', u .. ':o', u .. ':s', u .. ':r', u .. ':y', u .. ':j', u .. ':a', u .. ':l')
  local held, ids, members = redis.call('HRANDFIELD', u .. ':b', args[1], 'WITHVALUES'), {}, {}
  for at = 1, #held, 2 do
    ids[#ids + 1] = held[at]
    for name in string.gmatch(held[at + 1], '\n([^\n]*)') do members[#members + 1] = held[at] .. '/' .. name end
  end
  note_all(u, members)
  if #ids > 0 then redis.call('HDEL', u .. ':b', unpack(ids)) end
  return { redis.call('SRANDMEMBER', u .. ':x', args[1]), redis.call('EXISTS', u .. ':f', u .. ':g', u .. ':k', u .. ':b') }
end

-- What is cached of messages

-- Writes the prefix and a listing: column u8, length u32, text; and so on (mailbox_listing_build). Answers the message ids in its keys.
local function columns_put(fk, uid, prefix, listing)
  local at, ids = 1, ''
  if prefix ~= '' then redis.call('HSET', fk .. ':p', uid, prefix) end
  while at + 4 <= #listing do
    local column, n = struct.unpack('<c1I4', listing, at)
    local text = string.sub(listing, at + 5, at + 4 + n)
    redis.call('HSET', fk .. ':' .. column, uid, text)
    if column == 'k' and n > 1 then ids = string.sub(text, 3, 2 + 8 * string.byte(text, 2)) end
    at = at + 5 + n
  end
  return ids
end

-- Records of version 1 had one column for all: prefix, envelope, body, structure and header fields, each with its length before it (-1: too large to keep).
local function columns_migrate(fk, uids)
  if #uids == 0 or redis.call('EXISTS', fk .. ':c') == 0 then return 0 end
  local moved = {}
  for n, packed in ipairs(redis.call('HMGET', fk .. ':c', unpack(uids))) do
    if packed then
      local at, texts = 1, {}
      while at + 3 <= #packed do
        local length = struct.unpack('<I4', packed, at)
        if length == 4294967295 then length = 0 end
        texts[#texts + 1] = string.sub(packed, at + 4, at + 3 + length)
        at = at + 4 + length
      end
      if (texts[1] or '') ~= '' then redis.call('HSET', fk .. ':p', uids[n], texts[1]) end
      for place, column in pairs({ [2] = 'e', [4] = 's', [5] = 'h', [6] = 'k', [7] = 'w' }) do redis.call('HSET', fk .. ':' .. column, uids[n], texts[place] or '') end
      moved[#moved + 1] = uids[n]
    end
  end
  if #moved > 0 then redis.call('HDEL', fk .. ':c', unpack(moved)) end
  return #moved
end

local function columns_copy(fk, uids, tk, to)
  columns_migrate(fk, uids)
  for _, column in ipairs(COLUMNS) do
    local fields = {}
    for at, text in ipairs(redis.call('HMGET', fk .. ':' .. column, unpack(uids))) do
      if text then fields[#fields + 1], fields[#fields + 2] = to[at], text end
    end
    if #fields > 0 then redis.call('HSET', tk .. ':' .. column, unpack(fields)) end
  end
end

local function columns_remove(fk, uids)
  redis.call('HDEL', fk .. ':c', unpack(uids))
  for _, column in ipairs(COLUMNS) do redis.call('HDEL', fk .. ':' .. column, unpack(uids)) end
end

-- Threads (RFC 8474 §5.2): a message belongs to the thread of the nearest message that it refers to, or that refers to it; else a thread begins
-- with it, whose id is the message's modseq. r and y: message id (8 bytes of a hash) -> thread, of the present generation and of the one before.
local function thread_of(u, packed, modseq)
  local ids, missing, thread = {}, {}, nil
  for at = #packed - 7, 1, -8 do -- the message itself is the first, then come its references, the nearest last
    local id = string.sub(packed, at, at + 7)
    if id ~= '\0\0\0\0\0\0\0\0' then ids[#ids + 1] = id end
  end
  if #ids == 0 then return modseq end
  for at, known in ipairs(redis.call('HMGET', u .. ':r', unpack(ids))) do
    if known then thread = thread or tonumber(known) else missing[#missing + 1] = ids[at] end
  end
  if #missing == 0 then return thread end
  if not thread then
    for _, known in ipairs(redis.call('HMGET', u .. ':y', unpack(missing))) do thread = thread or (known and tonumber(known)) end
    thread = thread or modseq
  end
  if redis.call('HLEN', u .. ':r') >= THREADS_MAX then
    redis.call('UNLINK', u .. ':y')
    redis.call('RENAME', u .. ':r', u .. ':y')
  end
  local fields = {}
  for _, id in ipairs(missing) do fields[#fields + 1], fields[#fields + 2] = id, text_of(thread) end
  redis.call('HSET', u .. ':r', unpack(fields))
  return thread
end

-- Messages coming

-- Puts one message into a folder. Answers uid, modseq, uidvalidity, or nil when it is over quota or there is no such folder (which: the second value).
local function put(u, fid, id, size, low, high, date, prefix, listing)
  local i, fk = u .. ':i', u .. ':f:' .. fid
  local user = redis.call('HMGET', i, 'modseq', 'bytes', 'messages', 'quota_bytes')
  local h = redis.call('HMGET', fk, 'uidnext', 'messages', 'unseen', 'bytes', 'uidvalidity')
  if not h[1] then return nil, refuse('NOTFOUND no such folder') end
  local bytes, quota = tonumber(user[2] or '0') + size, tonumber(user[4] or '0')
  if quota > 0 and bytes > quota then return nil, refuse('OVERQUOTA the mailbox is full') end
  local uid, modseq = tonumber(h[1]), tonumber(user[1]) + 1
  local thread = thread_of(u, columns_put(fk, uid, prefix, listing), modseq)
  local variant = prefix ~= '' and tonumber(string.sub(redis.sha1hex(prefix), 1, 8), 16) or 0
  redis.call('HSET', fk .. ':m', uid, struct.pack(FIRST, uid, size, modseq, low, high, date, id) .. struct.pack(REST, VERSION, REST_BYTES, seconds(), variant, thread))
  redis.call('ZADD', fk .. ':q', modseq, uid)
  redis.call('HSET', fk, 'uidnext', uid + 1, 'modseq', modseq, 'messages', h[2] + 1, 'unseen', h[3] + (bit.band(low, SEEN) == 0 and 1 or 0), 'bytes', h[4] + size)
  redis.call('HSET', i, 'modseq', modseq, 'bytes', bytes, 'messages', tonumber(user[3] or '0') + 1)
  if bit.band(low, DELETED) ~= 0 then redis.call('SADD', fk .. ':t', uid) end
  return uid, modseq, h[5]
end

-- The id of the folder that a delivery goes to, made when it is missing. "Junk" is also the one with that special use, whatever its name.
local function folder_for_delivery(u, name)
  local f = u .. ':f'
  local fid = redis.call('HGET', f, name)
  if fid then return fid end
  user_ready(u)
  fid = redis.call('HGET', f, name)
  if fid then return fid end
  if name == 'Junk' then
    for _, other in ipairs(redis.call('HVALS', f)) do
      if redis.call('HGET', f .. ':' .. other, 'use') == '\\Junk' then return other end
    end
  end
  if redis.call('HLEN', f) + levels(name) > FOLDERS_MAX then return redis.call('HGET', f, 'INBOX') end
  parents_make(u, name)
  return (folder_make(u, name, name == 'Junk' and '\\Junk' or ''))
end

-- Forgets deliveries that are older than they need be, at most max; answers how many.
local function memo_trim(u, now, max)
  local d, o = u .. ':d', u .. ':o'
  for n = 1, max do
    local oldest = redis.call('LINDEX', o, 0)
    if not oldest then return n - 1 end
    local packed = redis.call('HGET', d, oldest)
    if packed and struct.unpack('<I4', packed) >= now - DEDUPE_SECONDS then return n - 1 end
    redis.call('LPOP', o)
    redis.call('HDEL', d, oldest)
  end
  return max
end

-- For mailboxes that nothing is delivered to any more.
local function forget(keys, args) -- max; answers how many were forgotten
  return memo_trim(keys[1], seconds(), tonumber(args[1]))
end

-- Notes a delivery. Twice as many expired notes are removed as new ones are added, so the list stays short.
local function memo_add(u, member, fid, uid, modseq)
  local d, o, now = u .. ':d', u .. ':o', seconds()
  redis.call('HSET', d, member, struct.pack('<I4I4I4I8', now, tonumber(fid), uid, modseq))
  redis.call('RPUSH', o, member)
  if uid % TRIM_EVERY == 0 then memo_trim(u, now, 2 * TRIM_EVERY) end
end

-- id, attempt, folder, size, flags, date, listing; then of each recipient: rcpt, prefix.
-- Answers for each recipient {folder id, uid, modseq, duplicate, unused, folder name}, or {"<error word>"}.
local function deliver(keys, args)
  local u, id, attempt, listing = keys[1], args[1], args[2], args[7]
  if is_gone(u) then return refuse(GONE) end
  local size, flags, date, fid, out = tonumber(args[4]), tonumber(args[5]), tonumber(args[6]), nil, {}
  for at = 8, #args, 2 do
    local rcpt, prefix = args[at], args[at + 1]
    local member = id .. '/' .. rcpt
    local before = redis.call('HGET', u .. ':d', member)
    if before then
      local _, folder, uid, modseq = struct.unpack('<I4I4I4I8', before)
      local name = redis.call('HGET', u .. ':f:' .. text_of(folder), 'name') or args[3]
      out[#out + 1] = { folder, uid, modseq, 1, blob_keep(u, id, rcpt, attempt), name }
    else
      fid = fid or folder_for_delivery(u, args[3])
      local uid, modseq = put(u, fid, id, size + #prefix, flags, 0, date, prefix, listing)
      if uid then
        blob_take(u, id, rcpt .. '/' .. attempt)
        memo_add(u, member, fid, uid, modseq)
        out[#out + 1] = { tonumber(fid), uid, modseq, 0, 0, redis.call('HGET', u .. ':f:' .. fid, 'name') }
      else
        out[#out + 1] = { string.match(modseq.err, '%u+') }
      end
    end
  end
  return out
end

-- Keywords

local function keyword_list(text)
  local list, index = {}, {}
  for word in string.gmatch(text, '%S+') do
    list[#list + 1] = word
    if word ~= FREE then index[string.lower(word)] = #list end
  end
  return list, index
end

-- A place for a new keyword; nil: all are used. list.reused: it had another keyword before.
local function keyword_place(list)
  if #list < KEYWORDS_MAX then return #list + 1 end
  for n, word in ipairs(list) do
    if word == FREE then
      list.reused = true
      return n
    end
  end
end

-- keygen counts how often a place got another keyword, so that a reader knows whether its own list of keywords still says what a bit means.
local function keywords_save(fk, list)
  redis.call('HSET', fk, 'keywords', table.concat(list, ' '))
  if list.reused then redis.call('HINCRBY', fk, 'keygen', 1) end
end

local function bit_of(n) -- keyword n (from 1) as low, high
  local at = 7 + n
  if at < 32 then return bit.lshift(1, at), 0 end
  return 0, bit.lshift(1, at - 32)
end

-- The bits of words in a folder's list; make: unknown ones are added, and *left* counts those for which there was no room.
local function keyword_bits(words, list, index, make)
  local low, high, added, left = 0, 0, false, 0
  for word in string.gmatch(words, '%S+') do
    local n = index[string.lower(word)]
    if not n and make then
      n = keyword_place(list)
      if n then
        list[n] = word
        index[string.lower(word)] = n
        added = true
      else
        left = left + 1
      end
    end
    if n then
      local l, h = bit_of(n)
      low, high = bit.bor(low, l), bit.bor(high, h)
    end
  end
  return low, high, added, left
end

local function append(keys, args) -- folder id, id, size, flags, keywords, date, listing, and of an import the name under which it holds the blob
  local u, fid = keys[1], args[1]
  if args[8] and redis.call('HEXISTS', u .. ':b', args[2]) == 1 then return refuse('EXISTS the mailbox has this message') end
  local fk = u .. ':f:' .. fid
  local list, index = keyword_list(redis.call('HGET', fk, 'keywords') or '')
  local low, high, added = keyword_bits(args[5], list, index, true)
  local uid, modseq, uidvalidity = put(u, fid, args[2], tonumber(args[3]), bit.bor(low, tonumber(args[4])), high, tonumber(args[6]), '', args[7])
  if not uid then return modseq end
  if added then keywords_save(fk, list) end
  blob_take(u, args[2], args[8] or '/')
  return { uidvalidity, uid, modseq }
end

-- Messages read

-- A page of changes: records, and after the last of them vanished uids. first: 1 on the first page.
-- Answers folder, full, packed records, the last one's modseq, packed vanished uids, the last one's modseq, more.
local function sync(keys, args) -- folder id, since, vanished since, first, max
  local fk = keys[1] .. ':f:' .. args[1]
  local h = redis.call('HMGET', fk, unpack(FOLDER_FIELDS))
  if not h[1] then return refuse('NOTFOUND no such folder') end
  local since, max, modseq, floor, full = tonumber(args[2]), tonumber(args[5]), tonumber(h[4]), tonumber(h[11]), 0
  if args[4] == '1' and (since == 0 or since > modseq or since < floor) then
    since, full = 0, 1
  elseif args[4] ~= '1' and tonumber(args[3]) < floor then
    return refuse('CONFLICT too much vanished meanwhile')
  end
  local uids = since >= modseq and {} or redis.call('ZRANGE', fk .. ':q', '(' .. text_of(since), '+inf', 'BYSCORE', 'LIMIT', 0, max)
  local records, last, more = '', since, #uids == max and 1 or 0
  if #uids > 0 then
    local all = redis.call('HMGET', fk .. ':m', unpack(uids))
    last = struct.unpack('<I8', all[#all], 9)
    for at, record in ipairs(all) do
      if #record == FIRST_BYTES then all[at] = record .. WITHOUT_REST end
    end
    records = table.concat(all)
  end
  local vanished, gone_at = {}, args[3]
  if more == 0 and full == 0 then
    local gone = redis.call('ZRANGE', fk .. ':v', '(' .. args[3], '+inf', 'BYSCORE', 'LIMIT', 0, max, 'WITHSCORES')
    for i = 1, #gone, 2 do vanished[#vanished + 1] = struct.pack('<I4', tonumber(gone[i])) end
    if #gone > 0 then gone_at = text_of(tonumber(gone[#gone])) end
    more = #vanished == max and 1 or 0
  end
  return { h, full, records, text_of(last), table.concat(vanished), gone_at, more }
end

-- \Recent (RFC 3501 §2.3.2): a session that may change the folder is told of the messages with uids from `recent` on up to before another bound, which
-- is `recent` from then on. Answers the former one. In folders that were made before there was such a bound, all messages count as told.
local function recent(keys, args) -- folder id, bound (0: the session may not change it)
  local fk = keys[1] .. ':f:' .. args[1]
  local h = redis.call('HMGET', fk, 'recent', 'uidnext')
  if not h[2] then return refuse('NOTFOUND no such folder') end
  local before, bound = tonumber(h[1] or h[2]), math.min(tonumber(args[2]), tonumber(h[2]))
  if bound > before or not h[1] then redis.call('HSET', fk, 'recent', text_of(math.max(bound, before))) end
  return { before }
end

local function uid_list(packed)
  local uids = {}
  for at = 1, #packed, 4 do uids[#uids + 1] = (struct.unpack('<I4', packed, at)) end
  return uids
end

local function uid_pack(uids)
  local parts = {}
  for i, uid in ipairs(uids) do parts[i] = struct.pack('<I4', uid) end
  return table.concat(parts)
end

-- Moves what is cached of messages of version 1 to the columns; answers of how many.
local function migrate(keys, args) -- folder id, packed uids
  return columns_migrate(keys[1] .. ':f:' .. args[1], uid_list(args[2]))
end

local function locate(keys, args) -- folder id, uid; answers blob id, prefix
  local fk = keys[1] .. ':f:' .. args[1]
  local record, prefix = redis.call('HGET', fk .. ':m', args[2]), redis.call('HGET', fk .. ':p', args[2])
  if not record then return refuse('NOTFOUND no such message') end
  if not prefix then
    local before = redis.call('HGET', fk .. ':c', args[2])
    prefix = before and string.sub(before, 5, 4 + struct.unpack('<I4', before)) or ''
  end
  return { string.sub(record, 33, 58), prefix }
end

-- Keeps what was computed of a message afterwards, if it is still there.
local function complete(keys, args) -- folder id, uid, column, text
  local fk = keys[1] .. ':f:' .. args[1]
  if redis.call('HEXISTS', fk .. ':m', args[2]) == 1 then redis.call('HSET', fk .. ':' .. args[3], args[2], args[4]) end
  return 1
end

local function stat(keys, args)
  return redis.call('HMGET', keys[1] .. ':i', 'bytes', 'quota_bytes', 'messages')
end

local function set_quota(keys, args) -- bytes
  if is_gone(keys[1]) then return refuse(GONE) end
  redis.call('HSET', keys[1] .. ':i', 'quota_bytes', args[1])
  return 1
end

-- Messages changing

local function store(keys, args) -- folder id, packed uids, how (0 add, 1 remove, 2 replace), flags, keywords, unchanged since, undo
  local u, fk = keys[1], keys[1] .. ':f:' .. args[1]
  local h = redis.call('HMGET', fk, 'unseen', 'keywords', 'modseq', 'keygen')
  if not h[1] then return refuse('NOTFOUND no such folder') end
  local how, unchanged = args[3], tonumber(args[6])
  local list, index = keyword_list(h[2])
  local low, high, added, left = keyword_bits(args[5], list, index, how ~= '1')
  if left > 0 then return refuse('LIMIT too many keywords') end
  low = bit.bor(low, tonumber(args[4]))
  local uids, unseen, first = uid_list(args[2]), tonumber(h[1]), tonumber(redis.call('HGET', u .. ':i', 'modseq'))
  local modseq, changed, refused, fields, scores, set, cleared, before = first, {}, {}, {}, {}, {}, {}, {}
  for at, record in ipairs(#uids > 0 and redis.call('HMGET', fk .. ':m', unpack(uids)) or {}) do
    if record then
      local seq, l, hi = struct.unpack('<I8I4I4', record, 9)
      local nl, nh = low, high
      if how == '0' then nl, nh = bit.bor(l, low), bit.bor(hi, high) elseif how == '1' then nl, nh = bit.band(l, bit.bnot(low)), bit.band(hi, bit.bnot(high)) end
      if unchanged > 0 and seq > unchanged then
        refused[#refused + 1] = uids[at]
      elseif nl ~= bit.bor(l, 0) or nh ~= bit.bor(hi, 0) then -- bor: both sides as the bit library's signed numbers
        modseq = modseq + 1
        before[#before + 1] = struct.pack('<I4I4I4', uids[at], l, hi)
        record = string.sub(record, 1, 8) .. struct.pack('<I8I4I4', modseq, nl % 4294967296, nh % 4294967296) .. string.sub(present_version(record), 25)
        fields[#fields + 1], fields[#fields + 2] = uids[at], record
        scores[#scores + 1], scores[#scores + 2] = modseq, uids[at]
        unseen = unseen + bit.band(l, SEEN) - bit.band(nl, SEEN)
        if bit.band(l, DELETED) ~= bit.band(nl, DELETED) then
          local list = bit.band(nl, DELETED) ~= 0 and set or cleared
          list[#list + 1] = uids[at]
        end
        changed[#changed + 1] = record
      end
    end
  end
  if #fields > 0 then
    redis.call('HSET', fk .. ':m', unpack(fields))
    redis.call('ZADD', fk .. ':q', unpack(scores))
    if undo_of(u, args[7]) > 0 then journal(u, 'f', args[1], table.concat(before), 0, 0, {}) else not_undone(u) end
  end
  if #set > 0 then redis.call('SADD', fk .. ':t', unpack(set)) end
  if #cleared > 0 then redis.call('SREM', fk .. ':t', unpack(cleared)) end
  if added then keywords_save(fk, list) end
  if modseq > first then
    redis.call('HSET', fk, 'modseq', modseq, 'unseen', unseen)
    redis.call('HSET', u .. ':i', 'modseq', modseq)
  elseif added then -- a new keyword alone is a change too
    redis.call('HSET', fk, 'modseq', modseq + 1)
    redis.call('HSET', u .. ':i', 'modseq', modseq + 1)
  end
  return { table.concat(changed), uid_pack(refused), tonumber(h[4] or '0') + (list.reused and 1 or 0) }
end

-- Frees the places of keywords that no message has. Called with the answers of the call before until nothing is left: a message that changes in the meantime
-- gets a higher modseq, so it comes later. Answers modseq, bits seen (low, high), more, places that are free.
local function keywords_collect(keys, args) -- folder id, after this modseq, bits seen (low, high), max
  local fk = keys[1] .. ':f:' .. args[1]
  local words = redis.call('HGET', fk, 'keywords')
  if not words then return refuse('NOTFOUND no such folder') end
  local uids = redis.call('ZRANGE', fk .. ':q', '(' .. args[2], '+inf', 'BYSCORE', 'LIMIT', 0, args[5])
  local last, low, high, free = args[2], tonumber(args[3]), tonumber(args[4]), 0
  for _, record in ipairs(#uids > 0 and redis.call('HMGET', fk .. ':m', unpack(uids)) or {}) do
    if record then
      local modseq, l, h = struct.unpack('<I8I4I4', record, 9)
      last, low, high = text_of(modseq), bit.bor(low, l), bit.bor(high, h)
    end
  end
  local more = #uids == tonumber(args[5])
  if not more then
    local list = keyword_list(words)
    for n in ipairs(list) do
      local l, h = bit_of(n)
      if bit.band(low, l) == 0 and bit.band(high, h) == 0 then list[n], free = FREE, free + 1 end
    end
    redis.call('HSET', fk, 'keywords', table.concat(list, ' '))
    if free > 0 then not_undone(keys[1]) end -- the journal's flags would mean other words
  end
  return { last, text_of(low % 4294967296), text_of(high % 4294967296), more and 1 or 0, free }
end

-- Takes messages out of a folder: their uids vanish, each with a modseq after `modseq`. Answers the new modseq, bytes and count.
local function take_out(fk, uids, records, modseq)
  local bytes, count, unseen, scores, deleted = 0, 0, 0, {}, {}
  for at, uid in ipairs(uids) do
    local _, size, _, low = struct.unpack('<I4I4I8I4', records[at])
    modseq = modseq + 1
    scores[#scores + 1], scores[#scores + 2] = modseq, uid
    if bit.band(low, DELETED) ~= 0 then deleted[#deleted + 1] = uid end
    bytes, count, unseen = bytes + size, count + 1, unseen + (bit.band(low, SEEN) == 0 and 1 or 0)
  end
  if count > 0 then
    redis.call('HDEL', fk .. ':m', unpack(uids))
    columns_remove(fk, uids)
    redis.call('ZREM', fk .. ':q', unpack(uids))
    redis.call('ZADD', fk .. ':v', unpack(scores))
    if #deleted > 0 then redis.call('SREM', fk .. ':t', unpack(deleted)) end
    local h = redis.call('HMGET', fk, 'messages', 'unseen', 'bytes')
    redis.call('HSET', fk, 'modseq', modseq, 'messages', h[1] - count, 'unseen', h[2] - unseen, 'bytes', h[3] - bytes)
    local over = redis.call('ZCARD', fk .. ':v') - VANISHED_MAX
    if over > 0 then -- the oldest are removed; a client that has not seen them must read the whole folder again
      local forgotten = redis.call('ZRANGE', fk .. ':v', over - 1, over - 1, 'WITHSCORES')
      redis.call('ZREMRANGEBYRANK', fk .. ':v', 0, over - 1)
      redis.call('HSET', fk, 'floor', forgotten[2])
    end
  end
  return modseq, bytes, count
end

-- Messages that are about to be taken out go to the journal, as entries of this kind.
local function keep(u, kind, fid, uids, records, gone)
  local fk, parts, bytes = u .. ':f:' .. fid, {}, 0
  columns_migrate(fk, uids)
  local prefixes = redis.call('HMGET', fk .. ':p', unpack(uids))
  for at, record in ipairs(records) do
    local prefix = prefixes[at] or ''
    parts[at] = struct.pack('<I2I4', #record, #prefix) .. record .. prefix
    bytes = bytes + struct.unpack('<I4', record, 5)
  end
  if kind == 'm' then journal(u, kind, fid, table.concat(parts), 0, 0, gone) else journal(u, kind, fid, table.concat(parts), #records, bytes, gone) end
end

-- The records of those uids that are there.
local function present(fk, wanted)
  local uids, records = {}, {}
  if #wanted == 0 then return uids, records end
  for at, record in ipairs(redis.call('HMGET', fk .. ':m', unpack(wanted))) do
    if record then
      uids[#uids + 1] = wanted[at]
      records[#records + 1] = record
    end
  end
  return uids, records
end

local function expunge(keys, args) -- folder id, packed uids ('': all), only \Deleted (1 or 0), max, undo; answers packed uids, modseq, to release, more
  local u, fk = keys[1], keys[1] .. ':f:' .. args[1]
  if redis.call('EXISTS', fk) == 0 then return refuse('NOTFOUND no such folder') end
  local wanted
  if args[2] == '' then
    wanted = redis.call('SRANDMEMBER', fk .. ':t', args[4])
    for at, uid in ipairs(wanted) do wanted[at] = tonumber(uid) end
    table.sort(wanted)
  else
    wanted = uid_list(args[2])
  end
  local uids, records, gone = {}, {}, {}
  local there, all = present(fk, wanted)
  for at, uid in ipairs(there) do
    if args[3] == '0' or bit.band(struct.unpack('<I4', all[at], 17), DELETED) ~= 0 then
      uids[#uids + 1] = uid
      records[#records + 1] = all[at]
    end
  end
  local i, undo = u .. ':i', #uids > 0 and undo_of(u, args[5])
  if undo and undo > 0 then keep(u, 'r', args[1], uids, records, gone) end
  local modseq, bytes, count = take_out(fk, uids, records, tonumber(redis.call('HGET', i, 'modseq')))
  if count > 0 then
    local h = redis.call('HMGET', i, 'messages', 'bytes')
    redis.call('HSET', i, 'modseq', modseq, 'messages', h[1] - count, 'bytes', h[2] - bytes)
    if undo == 0 then
      if args[5] ~= COPIES then not_undone(u) end
      blob_drop_all(u, bodies_of(records), gone)
    end
  end
  return { uid_pack(uids), text_of(tonumber(redis.call('HGET', fk, 'modseq'))), gone, args[2] == '' and redis.call('EXISTS', fk .. ':t') or 0 }
end

-- Several messages, all of them or none: whatever can be refused is refused before the first change. The message that they replace goes first, so that
-- the quota counts the difference.
local function append_all(keys, args) -- folder id, folder id and uid of the replaced one (0: none), undo, then of each message what append takes after the folder
  local u, sum, uids, one, removed = keys[1], 0, {}, nil, { '', '0', {} }
  if redis.call('EXISTS', u .. ':f:' .. args[1]) == 0 then return refuse('NOTFOUND no such folder') end
  for at = 6, #args, 6 do sum = sum + tonumber(args[at]) end
  if args[3] ~= '0' then
    local record = redis.call('HGET', u .. ':f:' .. args[2] .. ':m', args[3])
    if not record then return refuse('CONFLICT the message was removed') end
    sum = sum - struct.unpack('<I4', record, 5)
  end
  local h = redis.call('HMGET', u .. ':i', 'bytes', 'quota_bytes')
  local quota = tonumber(h[2] or '0')
  if quota > 0 and tonumber(h[1] or '0') + sum > quota then return refuse('OVERQUOTA the mailbox is full') end
  if args[3] ~= '0' then removed = expunge(keys, { args[2], uid_pack({ tonumber(args[3]) }), '0', 1, args[4] }) end
  for at = 5, #args, 6 do
    one = append(keys, { args[1], unpack(args, at, at + 5) })
    if one.err then return one end
    uids[#uids + 1] = one[2]
  end
  return { one[1], uid_pack(uids), removed[2], removed[3] }
end

-- Flags of a message of one folder in another's keywords.
local function translate(low, high, words, list, index, known)
  if bit.band(low, bit.bnot(255)) == 0 and high == 0 then return low, 0 end
  local nl, nh = bit.band(low, 255), 0
  for n, word in ipairs(words) do
    local l, h = bit_of(n)
    if bit.band(low, l) ~= 0 or bit.band(high, h) ~= 0 then
      local tl, th, added = keyword_bits(word, list, index, true)
      known.added = known.added or added
      nl, nh = bit.bor(nl, tl), bit.bor(nh, th)
    end
  end
  return nl % 4294967296, nh % 4294967296
end

-- A COPY of more messages than one Function copies is noted in j: copy -> time u32, target's id u32, and the first and last uid (u32 each) of what every step
-- made. So when it is not finished, because its process or the store was killed, what was copied is removed again, and a repeated COPY does not copy
-- twice (RFC 9051 §6.4.7).

-- One step of removing what a copy made; answers what is to be released, and whether there is more.
local function copy_take_back(u, op, packed, max)
  local _, fid = struct.unpack('<I4I4', packed)
  if #packed <= 8 or redis.call('EXISTS', u .. ':f:' .. text_of(fid)) == 0 then
    redis.call('HDEL', u .. ':j', op)
    return {}, 1
  end
  local first, last = struct.unpack('<I4I4', packed, #packed - 7)
  local uids = {}
  for uid = math.max(first, last - max + 1), last do uids[#uids + 1] = uid end
  packed = string.sub(packed, 1, -9)
  if uids[1] > first then packed = packed .. struct.pack('<I4I4', first, uids[1] - 1) end
  redis.call('HSET', u .. ':j', op, packed)
  return expunge({ u }, { text_of(fid), uid_pack(uids), '0', max, COPIES })[3], 1
end

-- Begins a copy (op '': none), after those that were given up have been taken back, one step in each call. Answers what is to be released, and more.
local function copy_begin(keys, args) -- op, max
  local u, all, alive = keys[1], redis.call('HGETALL', keys[1] .. ':j'), 0
  for at = 1, #all, 2 do
    if struct.unpack('<I4', all[at + 1]) + COPY_SECONDS <= seconds() then return { copy_take_back(u, all[at], all[at + 1], tonumber(args[2])) } end
    if all[at] == args[1] then return refuse('CONFLICT the same messages are being copied') end
    alive = alive + 1
  end
  if args[1] == '' then return { {}, 0 } end
  if alive >= COPIES_MAX then return refuse('CONFLICT too many copies at the same time') end
  redis.call('HSET', u .. ':j', args[1], struct.pack('<I4I4', seconds(), 0))
  return { {}, 0 }
end

-- The same of one copy that has failed.
local function copy_undo(keys, args) -- op, max
  local packed = redis.call('HGET', keys[1] .. ':j', args[1])
  if not packed then return { {}, 0 } end
  return { copy_take_back(keys[1], args[1], packed, tonumber(args[2])) }
end

-- op: of copy_begin, '' when this is the only step. Answers uidvalidity, packed from, packed to, target's id.
local function copy(keys, args) -- folder id, packed uids, target name, move (1 or 0), op, whether it is the last step (1 or 0), undo
  local u, fk, move = keys[1], keys[1] .. ':f:' .. args[1], args[4] == '1'
  local source = redis.call('HMGET', fk, 'keywords', 'modseq')
  if not source[1] then return refuse('NOTFOUND no such folder') end
  local fid = redis.call('HGET', u .. ':f', args[3])
  if not fid then return refuse('NOTFOUND no such target') end
  local noted = args[5] ~= '' and redis.call('HGET', u .. ':j', args[5])
  if args[5] ~= '' and not noted then return refuse('CONFLICT the copy took too long and was taken back') end
  local i, tk = u .. ':i', u .. ':f:' .. fid
  local uids, records = present(fk, uid_list(args[2]))
  local target = redis.call('HMGET', tk, 'uidvalidity', 'uidnext', 'messages', 'unseen', 'bytes', 'keywords')
  local user = redis.call('HMGET', i, 'modseq', 'bytes', 'messages', 'quota_bytes')
  local words = keyword_list(source[1])
  local list, index = keyword_list(target[6])
  local total, quota, known = 0, tonumber(user[4] or '0'), { added = false }
  for _, record in ipairs(records) do total = total + struct.unpack('<I4', record, 5) end
  if not move and quota > 0 and tonumber(user[2]) + total > quota then return refuse('OVERQUOTA the mailbox is full') end
  local modseq, uidnext, unseen, to = tonumber(user[1]), tonumber(target[2]), tonumber(target[4]), {}
  local fields, scores, deleted, ids, now = {}, {}, {}, {}, seconds()
  for at, record in ipairs(records) do
    local _, size, _, low, high, date, id = struct.unpack(FIRST, record)
    local _, _, saved, variant, thread = struct.unpack(REST, present_version(record), FIRST_BYTES + 1)
    if saved > 0 then saved = now end -- 0 tells a reader that there may be a prefix though the variant is 0
    low, high = translate(low, high, words, list, index, known)
    modseq = modseq + 1
    fields[#fields + 1], fields[#fields + 2] = uidnext, struct.pack(FIRST, uidnext, size, modseq, low, high, date, id) .. struct.pack(REST, VERSION, REST_BYTES, saved, variant, thread)
    scores[#scores + 1], scores[#scores + 2] = modseq, uidnext
    if bit.band(low, DELETED) ~= 0 then deleted[#deleted + 1] = uidnext end
    ids[at] = id
    unseen = unseen + (bit.band(low, SEEN) == 0 and 1 or 0)
    to[at] = uidnext
    uidnext = uidnext + 1
  end
  if #uids > 0 then
    redis.call('HSET', tk .. ':m', unpack(fields))
    redis.call('ZADD', tk .. ':q', unpack(scores))
    columns_copy(fk, uids, tk, to)
    if #deleted > 0 then redis.call('SADD', tk .. ':t', unpack(deleted)) end
    if not move then blob_copy_all(u, ids) end
    redis.call('HSET', tk, 'uidnext', uidnext, 'modseq', modseq, 'messages', target[3] + #uids, 'unseen', unseen, 'bytes', target[5] + total)
    if known.added then keywords_save(tk, list) end
    if move then
      if undo_of(u, args[7]) > 0 then
        blob_copy_all(u, ids) -- the journal's
        keep(u, 'm', args[1], uids, records, {})
      else
        not_undone(u)
      end
      modseq = take_out(fk, uids, records, modseq)
    else
      redis.call('HSET', i, 'messages', user[3] + #uids, 'bytes', user[2] + total)
    end
    redis.call('HSET', i, 'modseq', modseq)
  end
  if noted then
    local made = #to > 0 and struct.pack('<I4I4', to[1], to[#to]) or ''
    if args[6] == '1' then redis.call('HDEL', u .. ':j', args[5]) else redis.call('HSET', u .. ':j', args[5], struct.pack('<I4I4', seconds(), tonumber(fid)) .. string.sub(noted, 9) .. made) end
  end
  return { target[1], uid_pack(uids), uid_pack(to), tonumber(fid) }
end

-- Undoing (mailbox_undo.h)

local function undo_set(keys, args) -- s; '': as the site
  if is_gone(keys[1]) then return refuse(GONE) end
  if args[1] == '' then redis.call('HDEL', keys[1] .. ':i', 'undo') else redis.call('HSET', keys[1] .. ':i', 'undo', args[1]) end
  return 1
end

-- Gives up what is older than it must be kept. Answers what is to be released, more.
local function undo_trim(keys, args) -- site's undo, the most that counts of an account's (s), max
  local u, gone = keys[1], {}
  local keep_s = math.min(undo_of(u, args[1]), tonumber(args[2]))
  local more = journal_trim(u, tonumber(milliseconds()) - keep_s * 1000 + (keep_s == 0 and 1 or 0), tonumber(args[3]), gone)
  return { gone, more and 1 or 0 }
end

-- A page of the journal. Answers undo_from (''), kept messages, kept bytes, the entries: {id, kind, folder id, value}.
local function journal_read(keys, args) -- id after which to go on ('-': from the first), max
  local h, out = redis.call('HMGET', keys[1] .. ':i', 'undo_from', 'kept_messages', 'kept_bytes'), {}
  for at, entry in ipairs(redis.call('XRANGE', keys[1] .. ':l', args[1] == '-' and '-' or '(' .. args[1], '+', 'COUNT', args[2])) do
    out[at] = { entry[1], entry[2][2], entry[2][4], entry[2][6] }
  end
  return { h[1] or '', h[2] or '0', h[3] or '0', out }
end

-- A page of the records of a deleted folder, which do not change. Answers the cursor of the next page (0: the last), records. A record may come twice.
local function kept_page(keys, args) -- folder id, cursor, max
  local found = redis.call('HSCAN', keys[1] .. ':f:' .. args[1] .. ':m', args[2], 'COUNT', args[3])
  local records = {}
  for at = 2, #found[2], 2 do records[#records + 1] = present_version(found[2][at]) end
  return { found[1], table.concat(records) }
end

-- Makes messages again, as new ones with the given flags: of the journal's entries, or of the records of a folder, deleted or not.
-- Answers uidvalidity, packed: of each its new uid, 0 where it is no longer there.
local function put_back(keys, args) -- folder id, keywords that the flags mean; then of each: entry or '', folder id, uid, low, high
  local u, tk, i = keys[1], keys[1] .. ':f:' .. args[1], keys[1] .. ':i'
  if is_gone(u) then return refuse(GONE) end
  local target = redis.call('HMGET', tk, 'uidvalidity', 'uidnext', 'messages', 'unseen', 'bytes', 'keywords')
  if not target[1] then return refuse('NOTFOUND no such folder') end
  local found, entries, total, out = {}, {}, 0, {}
  for at = 3, #args, 5 do
    local fk, record, prefix = u .. ':f:' .. args[at + 1], nil, nil
    if args[at] == '' then
      record = redis.call('HGET', fk .. ':m', args[at + 2])
      columns_migrate(fk, { args[at + 2] })
      prefix = redis.call('HGET', fk .. ':p', args[at + 2]) or ''
    else
      local entry = entries[args[at]]
      if not entry then
        local read = redis.call('XRANGE', u .. ':l', args[at], args[at])[1]
        entry = { {}, {} }
        if read then entry = { removed_unpack(read[2][6]) } end
        entries[args[at]] = entry
      end
      for n, other in ipairs(entry[1]) do
        if struct.unpack('<I4', other) == tonumber(args[at + 2]) then record, prefix = other, entry[2][n] end
      end
    end
    if record then total = total + struct.unpack('<I4', record, 5) end
    found[#found + 1] = { record, prefix, tonumber(args[at + 3]), tonumber(args[at + 4]) }
  end
  local user = redis.call('HMGET', i, 'modseq', 'bytes', 'messages', 'quota_bytes')
  local quota = tonumber(user[4] or '0')
  if quota > 0 and tonumber(user[2] or '0') + total > quota then return refuse('OVERQUOTA the mailbox is full') end
  local words, list, index, known = keyword_list(args[2]), nil, nil, { added = false }
  list, index = keyword_list(target[6])
  local modseq, uidnext, unseen, ids, now = tonumber(user[1]), tonumber(target[2]), tonumber(target[4]), {}, seconds()
  for at, one in ipairs(found) do
    local record = one[1] and present_version(one[1])
    out[at] = 0
    if record then
      local _, size, _, _, _, date, id = struct.unpack(FIRST, record)
      local _, _, _, variant, thread = struct.unpack(REST, record, FIRST_BYTES + 1)
      local low, high = translate(one[3], one[4], words, list, index, known)
      modseq = modseq + 1
      redis.call('HSET', tk .. ':m', uidnext, struct.pack(FIRST, uidnext, size, modseq, low, high, date, id) .. struct.pack(REST, VERSION, REST_BYTES, now, variant, thread))
      redis.call('ZADD', tk .. ':q', modseq, uidnext)
      if one[2] ~= '' then redis.call('HSET', tk .. ':p', uidnext, one[2]) end
      for _, column in ipairs(COLUMNS) do
        if column ~= 'p' then redis.call('HSET', tk .. ':' .. column, uidnext, '') end -- computed when it is needed
      end
      if bit.band(low, DELETED) ~= 0 then redis.call('SADD', tk .. ':t', uidnext) end
      unseen = unseen + (bit.band(low, SEEN) == 0 and 1 or 0)
      ids[#ids + 1] = id
      out[at] = uidnext
      uidnext = uidnext + 1
    end
  end
  if #ids > 0 then
    blob_copy_all(u, ids)
    redis.call('HSET', tk, 'uidnext', uidnext, 'modseq', modseq, 'messages', target[3] + #ids, 'unseen', unseen, 'bytes', target[5] + total)
    if known.added then keywords_save(tk, list) end
    redis.call('HSET', i, 'modseq', modseq, 'messages', tonumber(user[3] or '0') + #ids, 'bytes', tonumber(user[2] or '0') + total)
  end
  return { target[1], uid_pack(out) }
end

-- allow-oom: a full store can still be read and emptied.
local function register(name, callback, flag)
  redis.register_function { function_name = 'mailbox_' .. name, callback = callback, flags = flag and { flag } or {} }
end
register('folders', folders, 'allow-oom')
register('folder', folder, 'allow-oom')
register('folder_create', folder_create)
register('folder_delete', folder_delete)
register('folder_delete_now', function(keys, args) return folder_delete(keys, { args[1], NOW }) end, 'allow-oom')
register('folder_rename', folder_rename)
register('folder_subscribe', folder_subscribe)
register('subscribed_gone', subscribed_gone, 'no-writes')
register('deliver', deliver)
register('append', append)
register('append_all', append_all)
register('forget', forget, 'allow-oom')
register('sync', sync, 'no-writes')
register('migrate', migrate, 'allow-oom')
register('complete', complete)
register('recent', recent, 'allow-oom')
register('locate', locate, 'no-writes')
register('stat', stat, 'no-writes')
register('set_quota', set_quota, 'allow-oom')
register('unheld', unheld, 'no-writes')
register('store', store, 'allow-oom')
register('keywords_collect', keywords_collect, 'allow-oom')
register('copy', copy)
register('copy_begin', copy_begin, 'allow-oom')
register('copy_undo', copy_undo, 'allow-oom')
register('expunge', expunge)
register('expunge_now', function(keys, args) return expunge(keys, { args[1], args[2], args[3], args[4], NOW }) end, 'allow-oom')
register('undo_set', undo_set, 'allow-oom')
register('undo_trim', undo_trim, 'allow-oom')
register('journal_read', journal_read, 'no-writes')
register('kept_page', kept_page, 'no-writes')
register('put_back', put_back)
register('released', released, 'allow-oom')
register('sweep', sweep, 'allow-oom')
register('delete_user', delete_user, 'allow-oom')
