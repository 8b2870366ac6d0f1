-- Puts a job among the delayed ones, to be tried again.
-- KEYS: reserved, delayed. ARGV: its reserved copy, when it is due, the copy to keep.
-- Returns 1 if it was ours, else 0.

-- What no job is: a member that is removed, or changed, without any effect.
local nobody = 'metric-streams: no job at all'
redis.call('zrem', KEYS[1], nobody)
redis.call('zadd', KEYS[2], 'XX', 0, nobody)
if redis.call('zrem', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('zadd', KEYS[2], ARGV[2], ARGV[3])
return 1
