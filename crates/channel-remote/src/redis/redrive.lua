-- Puts dead letters back into the queue; how many it were. One whose message waits already stays a dead letter.
local max, done = tonumber(ARGV[1]), 0
for i = 2, #ARGV do
  local n = ARGV[i]
  local found = redis.call('XRANGE', DEAD, n .. '-0', n .. '-0')
  local waits = #found > 0 and redis.call('HEXISTS', IDS, found[1][2][2]) == 1
  if #found > 0 and not waits and redis.call('XLEN', QUEUE) + redis.call('ZCARD', LATER) < max then
    append(found[1][2][2], found[1][2][4])
    redis.call('XDEL', DEAD, n .. '-0')
    done = done + 1
  end
end
if done > 0 then redis.call('PUBLISH', WAKE, 'q') end
return done
