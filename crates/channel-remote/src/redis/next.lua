-- The next message of the topic for a subscriber, whose place moves; asked again under the same key, the same message.
local name, key, max, retention = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local place = redis.call('HGET', PLACES, name)
if not place then
  if redis.call('HLEN', PLACES) >= max then return -1 end
  place = '0'
  redis.call('HSET', PLACES, name, place)
end
if key ~= '' and redis.call('HGET', ASKED, name) == key then
  local again = redis.call('XRANGE', TOPIC, place .. '-0', place .. '-0')
  if #again > 0 then return again[1][2][2] end
end
while true do
  local found = redis.call('XRANGE', TOPIC, '(' .. place .. '-0', '+', 'COUNT', 1)
  if #found == 0 then return '' end
  place = entry_number(found[1][1])
  if tonumber(found[1][2][4]) + retention > now() then
    redis.call('HSET', PLACES, name, place)
    if key ~= '' then redis.call('HSET', ASKED, name, key) else redis.call('HDEL', ASKED, name) end
    return found[1][2][2]
  end
  redis.call('XDEL', TOPIC, found[1][1])
end
