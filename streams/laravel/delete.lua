-- Deletes a job that is done with.
-- KEYS: reserved. ARGV: its reserved copy, its place.
-- Returns 1 if it was ours, else 0.

redis.call('zrem', KEYS[1], nobody)
if not stands_at(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
redis.call('zrem', KEYS[1], ARGV[1])
return 1
