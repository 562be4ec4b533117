-- Messages of the topic after a position (-1: from now on), each after its position; the position to go on from comes first.
local after, limit, retention = ARGV[1], ARGV[2], tonumber(ARGV[3])
if after == '-1' then return { redis.call('HGET', NUMBERS, 'topic') or '0' } end
local reply = { after }
for _, entry in ipairs(redis.call('XRANGE', TOPIC, '(' .. after .. '-0', '+', 'COUNT', limit)) do
  reply[1] = entry_number(entry[1])
  if tonumber(entry[2][4]) + retention > now() then
    table.insert(reply, reply[1])
    table.insert(reply, entry[2][2])
  end
end
return reply
