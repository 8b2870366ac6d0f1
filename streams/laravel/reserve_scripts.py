"""The Lua scripts of `streams.laravel.reserve`.

Redis undoes nothing of a script that fails in the middle, so each of them fails before its first write or not
at all. Its first commands change nothing, but need all that the later ones need: that this is no replica, the
type of each key, the right to each command and key, and to publish. Two rules of Redis do the rest. It kills
no script that has begun to write. And one that is full refuses memory to the *first* write of a script alone
(``scriptVerifyOOM`` in script.c, ``lua_write_dirty`` in older versions), so a first write that needs none, as
an LTRIM, lets the script free what the jobs take. Laravel's own pop begins with an LPOP.
"""

# What no job is: a member that is removed, or changed, without any effect.
_NOBODY = "local nobody = 'metric-streams: no job at all'\n"

# The effect of so many pops in a row, but in an order in which a crash in the middle leaves a job in two
# places rather than in none. A payload that a pop would destroy (no JSON object with a number of attempts) is
# reserved as it is.
RESERVE = f"""{_NOBODY}
local queue, delayed, reserved, notify = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, expires, most_jobs, most_bytes, woken = ARGV[1], ARGV[2], ARGV[3] + 0, ARGV[4] + 0, ARGV[5] + 0

redis.call('lindex', queue, 0)
redis.call('ltrim', queue, 0, -1)
redis.call('ltrim', notify, 0, -1)
redis.call('zremrangebyrank', delayed, 1, 0)
redis.call('zremrangebyrank', reserved, 1, 0)
redis.call('zadd', reserved, 'XX', 0, nobody)

local function bring_back(from)
  local due = redis.call('zrangebyscore', from, '-inf', now)
  for i = 1, #due, 100 do
    for _ = i, math.min(i + 99, #due) do redis.call('rpush', notify, 1) end
    redis.call('rpush', queue, unpack(due, i, math.min(i + 99, #due)))
  end
  if #due > 0 then redis.call('zremrangebyrank', from, 0, #due - 1) end
end

local function next_attempt(job)
  local decoded = cjson.decode(job)
  decoded['attempts'] = decoded['attempts'] + 1
  return cjson.encode(decoded)
end

bring_back(delayed)
bring_back(reserved)

local taken, size_bytes = {{}}, 0
for i = 0, most_jobs - 1 do
  local job = redis.call('lindex', queue, i)
  if not job or (i > 0 and size_bytes + #job > most_bytes) then break end
  size_bytes = size_bytes + #job
  local readable, copy = pcall(next_attempt, job)
  if not readable then copy = job end
  redis.call('zadd', reserved, expires, copy)
  taken[#taken + 1] = {{job, copy}}
end
if #taken > 0 then redis.call('ltrim', queue, #taken, -1) end
if #taken > woken then redis.call('ltrim', notify, #taken - woken, -1) end
return taken
"""

# Published before it is deleted: what fails in between is published again rather than never. A job that is no
# longer ours is another worker's to announce.
COMPLETE = f"""{_NOBODY}
redis.call('zrem', KEYS[1], nobody)
for i = 1, #ARGV, 3 do
  if redis.acl_check_cmd and not redis.acl_check_cmd('publish', ARGV[i + 1], '') then
    return redis.error_reply('NOPERM no right to publish on the channel ' .. ARGV[i + 1])
  end
end
local ours = {{}}
for i = 1, #ARGV, 3 do
  local found = redis.call('zscore', KEYS[1], ARGV[i])
  if found then
    redis.call('publish', ARGV[i + 1], ARGV[i + 2])
    redis.call('zrem', KEYS[1], ARGV[i])
  end
  ours[#ours + 1] = found and 1 or 0
end
return ours
"""

RELEASE = f"""{_NOBODY}
redis.call('zrem', KEYS[1], nobody)
redis.call('zadd', KEYS[2], 'XX', 0, nobody)
if redis.call('zrem', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('zadd', KEYS[2], ARGV[2], ARGV[3])
return 1
"""

PUT_BACK = f"""{_NOBODY}
redis.call('zrem', KEYS[1], nobody)
redis.call('ltrim', KEYS[2], 0, -1)
redis.call('ltrim', KEYS[3], 0, -1)
local returned = 0
for i = #ARGV - 1, 1, -2 do
  if redis.call('zscore', KEYS[1], ARGV[i]) then
    redis.call('lpush', KEYS[3], 1)
    redis.call('lpush', KEYS[2], ARGV[i + 1])
    redis.call('zrem', KEYS[1], ARGV[i])
    returned = returned + 1
  end
end
return returned
"""
