-- Makes a place unless there is one: 1; -1 where there is no room.
local name, from, max = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('HEXISTS', PLACES, name) == 1 then return 1 end
if redis.call('HLEN', PLACES) >= max then return -1 end
local place = from == 'latest' and redis.call('HGET', NUMBERS, 'topic') or '0'
redis.call('HSET', PLACES, name, place or '0')
return 1
