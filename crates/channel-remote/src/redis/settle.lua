-- A message is done, or not done: 1; -1 for one that was not given to anybody yet.
local id, verdict, most, max = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local n = redis.call('HGET', IDS, id)
if not n then return 1 end
local count = n ~= 'later' and deliveries(n)
if not count then return -1 end
if verdict == 'ack' then
  forget(n, id)
elseif (verdict == 'again' and count < most) or not bury(n, count, max) then
  redis.call('ZADD', HIDDEN, 0, n)
  redis.call('PUBLISH', WAKE, 'q')
end
return 1
