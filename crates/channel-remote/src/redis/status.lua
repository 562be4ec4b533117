-- Ready, delayed, in flight, dead, published, subscribers.
local hidden = redis.call('ZCOUNT', HIDDEN, '(' .. now(), '+inf')
local due = redis.call('ZCOUNT', LATER, '-inf', now())
return {
  redis.call('XLEN', QUEUE) - hidden + due, redis.call('ZCARD', LATER) - due, hidden,
  redis.call('XLEN', DEAD), redis.call('XLEN', TOPIC), redis.call('HLEN', PLACES),
}
