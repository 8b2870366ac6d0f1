-- Publishes and deletes jobs that are done.
-- KEYS: reserved.
-- ARGV: for each job its reserved copy, the channel and the message.
-- Returns 1 for each job that was ours, else 0.
--
-- Published before it is deleted: what fails in between is published again rather than never. A job that is no
-- longer ours is another worker's to announce.

-- What no job is: a member that is removed, or changed, without any effect.
local nobody = 'metric-streams: no job at all'
redis.call('zrem', KEYS[1], nobody)
for i = 1, #ARGV, 3 do
  if redis.acl_check_cmd and not redis.acl_check_cmd('publish', ARGV[i + 1], '') then
    return redis.error_reply('NOPERM no right to publish on the channel ' .. ARGV[i + 1])
  end
end
local ours = {}
for i = 1, #ARGV, 3 do
  local found = redis.call('zscore', KEYS[1], ARGV[i])
  if found then
    redis.call('publish', ARGV[i + 1], ARGV[i + 2])
    redis.call('zrem', KEYS[1], ARGV[i])
  end
  ours[#ours + 1] = found and 1 or 0
end
return ours
