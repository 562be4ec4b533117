-- The next message with how often it was given out, or for how long there is surely none: what is due comes first, in its order.
-- An actor that asks again under the same key is given what it was given, as long as that is not settled.
local visibility, most, max, sender, key = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local present = now()

local function give(n, body, count)
  redis.call('ZADD', HIDDEN, present + visibility, n)
  if sender ~= '' then redis.call('HSET', RECEIVED, sender, n .. ' ' .. key) end
  return { body, count }
end

if redis.call('EXISTS', QUEUE) == 0 then redis.call('XGROUP', 'CREATE', QUEUE, GROUP, '0', 'MKSTREAM')
else redis.pcall('XGROUP', 'CREATE', QUEUE, GROUP, '0') end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', LATER, '-inf', present, 'LIMIT', 0, 100)) do
  append(id, redis.call('HGET', BODIES, id))
  redis.call('HDEL', BODIES, id)
  redis.call('ZREM', LATER, id)
end

if sender ~= '' then
  local before = redis.call('HGET', RECEIVED, sender)
  local n = before and entry_number(before)
  local count = n and string.sub(before, #n + 2) == key and deliveries(n)
  if count then return give(n, redis.call('XRANGE', QUEUE, n .. '-0', n .. '-0')[1][2][4], count) end
end

while true do
  local first = nil
  for _, n in ipairs(redis.call('ZRANGEBYSCORE', HIDDEN, '-inf', present, 'LIMIT', 0, 100)) do
    if first == nil or tonumber(n) < tonumber(first) then first = n end
  end
  if first == nil then break end
  local count = deliveries(first)
  if count == nil or count < most or not bury(first, count, max) then
    local claimed = redis.call('XCLAIM', QUEUE, GROUP, 'node', 0, first .. '-0')
    if #claimed > 0 and claimed[1] and claimed[1][2] then
      return give(first, claimed[1][2][4], (count or 0) + 1)
    end
    redis.call('ZREM', HIDDEN, first)
  end
end

local read = redis.call('XREADGROUP', 'GROUP', GROUP, 'node', 'COUNT', 1, 'STREAMS', QUEUE, '>')
if read and #read > 0 then
  local entry = read[1][2][1]
  return give(entry_number(entry[1]), entry[2][4], 1)
end

local wait = -1
for _, waiting in ipairs({ LATER, HIDDEN }) do
  local first = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  if #first > 0 then
    local left = math.max(0, tonumber(first[2]) - present)
    if wait < 0 or left < wait then wait = left end
  end
end
return { '', wait }
