-- Puts a job among the delayed ones, to be tried again.
-- KEYS: reserved, delayed. ARGV: its reserved copy, its place, when it is due, the copy to keep.
-- Returns 1 if it was ours, else 0.

redis.call('zrem', KEYS[1], nobody)
redis.call('zadd', KEYS[2], 'XX', 0, nobody)
if not stands_at(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
redis.call('zrem', KEYS[1], ARGV[1])
redis.call('zadd', KEYS[2], ARGV[3], ARGV[4])
return 1
