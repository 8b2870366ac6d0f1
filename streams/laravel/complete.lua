-- Publishes and deletes jobs that are done.
-- KEYS: reserved.
-- ARGV: for each job its reserved copy, its place, the channel and the message.
-- Returns 1 for each job that was ours, else 0.
--
-- Published before it is deleted: what fails in between is published again rather than never. A job that is no
-- longer ours is another worker's to announce.

redis.call('zrem', KEYS[1], nobody)
for i = 1, #ARGV, 4 do
  if redis.acl_check_cmd and not redis.acl_check_cmd('publish', ARGV[i + 2], '') then
    return redis.error_reply('NOPERM no right to publish on the channel ' .. ARGV[i + 2])
  end
end
local ours = {}
for i = 1, #ARGV, 4 do
  local is_ours = stands_at(KEYS[1], ARGV[i], ARGV[i + 1])
  if is_ours then
    redis.call('publish', ARGV[i + 2], ARGV[i + 3])
    redis.call('zrem', KEYS[1], ARGV[i])
  end
  ours[#ours + 1] = is_ours and 1 or 0
end
return ours
