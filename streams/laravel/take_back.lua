-- Puts what holders will not settle any more back to the front of the queue, in the old order.
-- KEYS: reserved, queue, notify, held. ARGV: who asks, then the marks, the latest first, each with its last beat.
-- Returns how many jobs there were. One that has beaten since keeps its own.
--
-- A try is used where a process held a single job in all: it may have ended it. Of several nobody knows which one did.
-- So each is a suspect from now on, which is taken alone. What the process that asks held itself has ended nobody.
-- In an order in which a crash in the middle leaves a job in two places rather than in none.

local reserved, queue, notify, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local holder = ARGV[1]

redis.call('ltrim', queue, 0, -1)
redis.call('ltrim', notify, 0, -1)
redis.call('zrem', reserved, nobody)
redis.call('zrem', held, nobody)

local jobs, marks, held_by = {}, {}, {}
for i = 2, #ARGV, 2 do
  local beat = redis.call('zscore', held, ARGV[i])
  if beat and tonumber(beat) == tonumber(ARGV[i + 1]) then
    local process = process_of(ARGV[i])
    local left = left_of(reserved, ARGV[i])
    for n = #left, 1, -1 do jobs[#jobs + 1] = {left[n], process} end
    if #left > 0 then held_by[process] = (held_by[process] or 0) + count_at(reserved, ARGV[i]) end
    marks[#marks + 1] = ARGV[i]
  end
end

local function as_it_goes_back(job, process)
  local decoded = cjson.decode(job)
  local is_ours = process == process_of(holder)
  if is_ours or held_by[process] > 1 then decoded['attempts'] = decoded['attempts'] - 1 end
  if not is_ours then decoded[suspicion] = 1 end
  return cjson.encode(decoded)
end

local copies = {}
for i, job in ipairs(jobs) do
  local readable, copy = pcall(as_it_goes_back, job[1], job[2])
  copies[i] = readable and copy or job[1]
end
for i, job in ipairs(jobs) do
  redis.call('lpush', notify, 1)
  redis.call('lpush', queue, copies[i])
  redis.call('zrem', reserved, job[1])
end
for _, mark in ipairs(marks) do redis.call('zrem', held, mark) end
return #jobs
