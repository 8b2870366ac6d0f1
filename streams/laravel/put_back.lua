-- Puts jobs that were not begun back to the front of the queue, as they were.
-- KEYS: reserved, queue, notify, held. ARGV: the mark of who held them, then for each job its reserved copy, its place,
-- and the job as it was.
-- Returns how many there were. The mark stays where others of its jobs are still reserved: this Redis has forgotten
-- that they were done, and whoever looks next is to find them.

redis.call('zrem', KEYS[1], nobody)
redis.call('ltrim', KEYS[2], 0, -1)
redis.call('ltrim', KEYS[3], 0, -1)
redis.call('zrem', KEYS[4], nobody)
left_of(KEYS[1], ARGV[1]) -- only so that a right that it lacks shows before the first job is moved
local returned = 0
for i = #ARGV - 2, 2, -3 do
  if stands_at(KEYS[1], ARGV[i], ARGV[i + 1]) then
    redis.call('lpush', KEYS[3], 1)
    redis.call('lpush', KEYS[2], ARGV[i + 2])
    redis.call('zrem', KEYS[1], ARGV[i])
    returned = returned + 1
  end
end
if #left_of(KEYS[1], ARGV[1]) == 0 then redis.call('zrem', KEYS[4], ARGV[1]) end
return returned
