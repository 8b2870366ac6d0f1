-- Shows that a holder of jobs lives. One whose mark was taken away stays without.
-- KEYS: held. ARGV: its mark.
-- Returns the beats; nothing for one without a mark.

-- Redis lets the first write of a script alone fail for want of memory; this one needs none.
redis.call('zrem', KEYS[1], nobody)
return redis.call('zadd', KEYS[1], 'XX', 'INCR', 1, ARGV[1])
