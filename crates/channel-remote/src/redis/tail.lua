-- Messages of the topic after a position (-1: from now on), each after its position; the position to go on from comes first.
local after, limit, retention, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if after == '-1' then return { redis.call('HGET', NUMBERS, 'topic') or '0' } end
local reply, count, bytes = { after }, 0, 0
-- A few at a time, since each may be large.
while count < limit and bytes < most do
  local found = redis.call('XRANGE', TOPIC, '(' .. reply[1] .. '-0', '+', 'COUNT', math.min(10, limit - count))
  if #found == 0 then break end
  for _, entry in ipairs(found) do
    if bytes >= most then break end
    reply[1], count = entry_number(entry[1]), count + 1
    if tonumber(entry[2][4]) + retention > now() then
      bytes = bytes + #entry[2][2]
      table.insert(reply, reply[1])
      table.insert(reply, entry[2][2])
    end
  end
end
return reply
