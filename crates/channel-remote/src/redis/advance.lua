-- Moves a place, if it is still where it was: 1; 0 where it is not.
local name, from, to = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', PLACES, name) ~= from then return 0 end
redis.call('HSET', PLACES, name, to)
redis.call('HDEL', ASKED, name)
return 1
