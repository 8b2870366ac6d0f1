-- Puts what a holder will not settle any more back to the front of the queue, in the old order.
-- KEYS: reserved, queue, notify, held. ARGV: its mark, the beat that was its last, and 0 if no try was used, else 1.
-- Returns how many jobs there were: none if it has beaten since.
--
-- A job is its own if it stands where it was reserved and has an id of the mark. At another place it is held by
-- another. In an order in which a crash in the middle leaves a job in two places rather than in none.

-- What no job is: a member that is removed, or changed, without any effect.
local nobody = 'metric-streams: no job at all'
local reserved, queue, notify, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local mark, beat, counted = ARGV[1], ARGV[2], ARGV[3] == '1'

redis.call('ltrim', queue, 0, -1)
redis.call('ltrim', notify, 0, -1)
redis.call('zrem', reserved, nobody)
redis.call('zrem', held, nobody)

local last_beat = redis.call('zscore', held, mark)
if not last_beat or tonumber(last_beat) ~= tonumber(beat) then return 0 end

local first, last, ids_text = string.match(mark, '^%S+ (%S+) (%S+)(.*)$')
local ids = {}
for id in string.gmatch(ids_text, '%S+') do ids[id] = true end

-- Its id, and the copy that goes back.
local function read(job)
  local decoded = cjson.decode(job)
  if counted then return decoded['id'], job end
  decoded['attempts'] = decoded['attempts'] - 1
  return decoded['id'], cjson.encode(decoded)
end

local jobs, returned = redis.call('zrangebyscore', reserved, first, last), 0
for i = #jobs, 1, -1 do
  local readable, id, left = pcall(read, jobs[i])
  if readable and ids[id] then
    redis.call('lpush', notify, 1)
    redis.call('lpush', queue, left)
    redis.call('zrem', reserved, jobs[i])
    returned = returned + 1
  end
end
redis.call('zrem', held, mark)
return returned
