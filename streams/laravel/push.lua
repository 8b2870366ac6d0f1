-- Pushes the jobs of chunks and moves the fence, or does nothing.
-- KEYS: the hash of fences, the queue, the queue's notify list.
-- ARGV: partition, the fence and the proof as this worker left them, owner, the most jobs, the new fence, proof
-- and locator, then the jobs.
-- Returns what became of it, and the fence and the proof as they are.
--
-- What a refusal could come from is tried before the first job is pushed: the lists' types, the right to write
-- the fence, and memory for it. Were jobs pushed without the fence, each retry would push them again.

local partition, owner = ARGV[1], ARGV[4]
local found = redis.call('HMGET', KEYS[1], partition, partition .. ':proof', 'owner')
local fence, proof = found[1] or '', found[2] or ''
if (found[3] or owner) ~= owner then
  return {'owned', found[3], ''}
end
if fence ~= ARGV[2] or proof ~= ARGV[3] then
  return {'moved', fence, proof}
end
if #ARGV > 8 and redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[5]) then
  return {'full', fence, proof}
end
redis.call('LLEN', KEYS[3])
redis.call('HSET', KEYS[1], partition, fence)
for i = 9, #ARGV do
  redis.call('RPUSH', KEYS[3], 1)
  redis.call('RPUSH', KEYS[2], ARGV[i])
end
redis.call('HSET', KEYS[1], partition, ARGV[6], partition .. ':proof', ARGV[7], 'owner', owner)
if ARGV[8] ~= '' then
  redis.call('HSET', KEYS[1], partition .. ':locator', ARGV[8])
end
return {'pushed', ARGV[6], ARGV[7]}
