-- What the scripts share that look after jobs in workers' hands. It stands before each of them.

-- What no job is: a member that is removed, or changed, without any effect.
local nobody = 'metric-streams: no job at all'

-- Whether a job is still held by who reserved it: by its bytes alone it could be another's, who took it since.
local function stands_at(reserved, job, place)
  local score = redis.call('zscore', reserved, job)
  return score and tonumber(score) == tonumber(place)
end

-- Whether some id can be a word of a mark. A job of another's may have none, or any.
local function is_word(id) return type(id) == 'string' and #id <= 64 and string.find(id, '^%S+$') end

-- A mark says who holds which jobs: the holder, the places of its first and its last one, and their ids.
local function mark_of(holder, first, last, ids)
  return table.concat({holder, first, last, table.concat(ids, ' ')}, ' ')
end

local function is_of(mark, holder) return string.sub(mark, 1, #holder) == holder end

-- The first half of a holder is the process, whose workers die together.
local function process_of(mark) return string.sub(mark, 1, 16) end

-- The field of a job that others were held beside when their process died. Whatever its value: it is taken alone.
local suspicion = 'metricStreamsSuspect'

-- How many jobs are reserved at a mark's places: all of its own, also those that it cannot name, and seldom another's.
local function count_at(reserved, mark)
  local first, last = string.match(mark, '^%S+ (%S+) (%S+)')
  return first and redis.call('zcount', reserved, first, last) or 0
end

-- What reserved still has of a mark's jobs, in the order in which they were taken. Each is known by its id and by
-- its place: at another place it is another's.
local function left_of(reserved, mark)
  local first, last, ids_text = string.match(mark, '^%S+ (%S+) (%S+)(.*)$')
  if not first then return {} end
  local left, ids = {}, nil
  for _, job in ipairs(redis.call('zrangebyscore', reserved, first, last)) do
    if not ids then
      ids = {}
      for id in string.gmatch(ids_text, '%S+') do ids[id] = true end
    end
    local readable, decoded = pcall(cjson.decode, job)
    if readable and type(decoded) == 'table' and ids[decoded['id']] then left[#left + 1] = job end
  end
  return left
end
