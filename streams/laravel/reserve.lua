-- Takes jobs of the queue, once those that are due again are back in it.
-- KEYS: queue, delayed, reserved, notify, held.
-- ARGV: now, when the first reservation expires, the most jobs and bytes, how many were announced by BLPOP, who takes
-- them, and the mark of what was taken before.
-- Returns nothing, and takes nothing, if this Redis has forgotten what became of the jobs that the holder held before,
-- or the holder has not heard of some. Else the new mark, empty if nothing was taken, and for each job: as it was, as
-- it stands in reserved, and its place there; and 1 if it is a suspect, which is taken alone (take_back.lua), or 0.
--
-- The effect of so many pops in a row, but in an order in which a crash in the middle leaves a job in two
-- places rather than in none. A payload that a pop would destroy (no JSON object with a number of attempts) is
-- reserved as it is.
--
-- Redis keeps members of one score in the order of their bytes. So each job expires a microsecond behind the one
-- before it: what a killed worker held comes back as it was pushed, and at the time that a pop would name.
--
-- The score of a mark counts the holder's beats.

local queue, delayed, reserved, notify, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now, expires, most_jobs, most_bytes, woken = ARGV[1], ARGV[2] + 0, ARGV[3] + 0, ARGV[4] + 0, ARGV[5] + 0
local holder, old_mark = ARGV[6], ARGV[7]

redis.call('lindex', queue, 0)
redis.call('ltrim', queue, 0, -1)
redis.call('ltrim', notify, 0, -1)
redis.call('zremrangebyrank', delayed, 1, 0)
redis.call('zremrangebyrank', reserved, 1, 0)
redis.call('zadd', reserved, 'XX', 0, nobody)
redis.call('zadd', held, 'XX', 0, nobody)

-- Whether what the holder held before is as it left it: its mark there, none of its jobs, and no other mark of its.
local function is_as_it_was()
  if old_mark ~= '' then
    if not redis.call('zscore', held, old_mark) or #left_of(reserved, old_mark) > 0 then return false end
  end
  for _, mark in ipairs(redis.call('zrangebyscore', held, '-inf', '+inf')) do
    if mark ~= old_mark and is_of(mark, holder) then return false end
  end
  return true
end
if not is_as_it_was() then return false end
if old_mark ~= '' then redis.call('zrem', held, old_mark) end

local function bring_back(from)
  local due = redis.call('zrangebyscore', from, '-inf', now)
  for i = 1, #due, 100 do
    for _ = i, math.min(i + 99, #due) do redis.call('rpush', notify, 1) end
    redis.call('rpush', queue, unpack(due, i, math.min(i + 99, #due)))
  end
  if #due > 0 then redis.call('zremrangebyrank', from, 0, #due - 1) end
end

local function next_attempt(job)
  local decoded = cjson.decode(job)
  decoded['attempts'] = decoded['attempts'] + 1
  return cjson.encode(decoded), decoded['id'], decoded[suspicion] ~= nil
end

bring_back(delayed)
bring_back(reserved)

-- As text: Lua would write a number with fewer digits.
local function place(i) return string.format('%.6f', expires + i / 1e6) end

local taken, ids, size_bytes, suspect = {}, {}, 0, false
for i = 0, most_jobs - 1 do
  local job = redis.call('lindex', queue, i)
  if not job or (i > 0 and size_bytes + #job > most_bytes) then break end
  size_bytes = size_bytes + #job
  local readable, copy, id, is_suspect = pcall(next_attempt, job)
  if not readable then copy = job end
  if is_suspect and i > 0 then break end
  redis.call('zadd', reserved, place(i), copy)
  taken[#taken + 1] = {job, copy, place(i)}
  if readable and is_word(id) then ids[#ids + 1] = id end
  if is_suspect then suspect = true break end
end
local mark = ''
if #ids > 0 then
  mark = mark_of(holder, place(0), place(#taken - 1), ids)
  redis.call('zadd', held, 0, mark)
end
if #taken > 0 then redis.call('ltrim', queue, #taken, -1) end
if #taken > woken then redis.call('ltrim', notify, #taken - woken, -1) end
return {mark, taken, suspect and 1 or 0}
