-- Puts what a holder will not settle any more back to the front of the queue, in the old order.
-- KEYS: reserved, queue, notify, held. ARGV: its mark, the beat that was its last, and 0 if no try was used, else 1.
-- Returns how many jobs there were: none if it has beaten since.
--
-- In an order in which a crash in the middle leaves a job in two places rather than in none.

local reserved, queue, notify, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local mark, beat, counted = ARGV[1], ARGV[2], ARGV[3] == '1'

redis.call('ltrim', queue, 0, -1)
redis.call('ltrim', notify, 0, -1)
redis.call('zrem', reserved, nobody)
redis.call('zrem', held, nobody)

local last_beat = redis.call('zscore', held, mark)
if not last_beat or tonumber(last_beat) ~= tonumber(beat) then return 0 end

local function without_the_try(job)
  local decoded = cjson.decode(job)
  decoded['attempts'] = decoded['attempts'] - 1
  return cjson.encode(decoded)
end

local jobs, copies = left_of(reserved, mark), {}
for i, job in ipairs(jobs) do
  local readable, copy = pcall(without_the_try, job)
  copies[i] = not counted and readable and copy or job
end
for i = #jobs, 1, -1 do
  redis.call('lpush', notify, 1)
  redis.call('lpush', queue, copies[i])
  redis.call('zrem', reserved, jobs[i])
end
redis.call('zrem', held, mark)
return #jobs
