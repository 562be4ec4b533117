-- Puts a message into the topic. 1: it is there; 0: it came lately.
local id, body, at, max, window, retention = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if not redis.call('SET', base .. ':published:' .. id, '', 'NX', 'PX', window) then return 0 end
redis.call('XADD', TOPIC, 'MAXLEN', '=', max, number('topic') .. '-0', 'body', body, 'at', string.format('%.0f', now()))
for _, entry in ipairs(redis.call('XRANGE', TOPIC, '-', '+', 'COUNT', 10)) do
  if tonumber(entry[2][4]) + retention <= now() then redis.call('XDEL', TOPIC, entry[1]) end
end
redis.call('PUBLISH', WAKE, 't')
return 1
