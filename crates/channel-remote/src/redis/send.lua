-- Puts a message into the queue. 1: it is there; 0: it was there or came lately; -1: the queue is full.
local id, body, delay, max, window = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('ZREMRANGEBYSCORE', LATELY, '-inf', now())
if redis.call('HEXISTS', IDS, id) == 1 or redis.call('ZSCORE', LATELY, id) then return 0 end
if redis.call('XLEN', QUEUE) + redis.call('ZCARD', LATER) >= max then return -1 end
redis.call('ZADD', LATELY, now() + window, id)
redis.call('PEXPIRE', LATELY, window)
if delay > 0 then
  redis.call('HSET', IDS, id, 'later')
  redis.call('HSET', BODIES, id, body)
  redis.call('ZADD', LATER, now() + delay, id)
else
  append(id, body)
end
redis.call('PUBLISH', WAKE, 'q')
return 1
