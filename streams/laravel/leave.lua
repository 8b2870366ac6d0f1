-- Takes a holder's mark away, unless some of its jobs are still reserved: whoever looks next is to find them.
-- KEYS: reserved, held. ARGV: the mark.

redis.call('zrem', KEYS[2], nobody)
if #left_of(KEYS[1], ARGV[1]) == 0 then redis.call('zrem', KEYS[2], ARGV[1]) end
return 0
