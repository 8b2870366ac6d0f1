-- Puts jobs that were not begun back to the front of the queue, as they were.
-- KEYS: reserved, queue, notify, held. ARGV: the mark of who held them, then for each job its reserved copy, and the job
-- as it was.
-- Returns how many there were.

-- What no job is: a member that is removed, or changed, without any effect.
local nobody = 'metric-streams: no job at all'
redis.call('zrem', KEYS[1], nobody)
redis.call('ltrim', KEYS[2], 0, -1)
redis.call('ltrim', KEYS[3], 0, -1)
redis.call('zrem', KEYS[4], nobody)
local returned = 0
for i = #ARGV - 1, 2, -2 do
  if redis.call('zscore', KEYS[1], ARGV[i]) then
    redis.call('lpush', KEYS[3], 1)
    redis.call('lpush', KEYS[2], ARGV[i + 1])
    redis.call('zrem', KEYS[1], ARGV[i])
    returned = returned + 1
  end
end
redis.call('zrem', KEYS[4], ARGV[1])
return returned
