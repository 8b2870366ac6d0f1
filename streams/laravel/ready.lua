-- Tells whether a user of Redis may do its work: which of the commands that it needs it may not call.
-- ARGV: JSON with needs, an example of each command, and writes, commands that write without changing anything.
--
-- redis.acl_check_cmd is there since Redis 7. Before that a missing right shows where it is needed.

local asked = cjson.decode(ARGV[1])
local missing = {}
for _, command in ipairs(redis.acl_check_cmd and asked.needs or {}) do
  if not redis.acl_check_cmd(unpack(command)) then missing[#missing + 1] = table.concat(command, ' ') end
end
if #missing == 0 then
  for _, command in ipairs(asked.writes) do redis.call(unpack(command)) end
end
return missing
