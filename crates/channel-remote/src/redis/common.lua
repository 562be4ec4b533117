-- What the scripts share: the keys of one channel, which all begin alike.
local base = KEYS[1]
local QUEUE, DEAD, TOPIC = base .. ':queue', base .. ':dead', base .. ':topic'
local IDS, LATER, BODIES, HIDDEN = base .. ':ids', base .. ':later', base .. ':bodies', base .. ':hidden'
local RECEIVED, PLACES, ASKED, NUMBERS = base .. ':received', base .. ':places', base .. ':asked', base .. ':numbers'
local LATELY, WAKE, GROUP = base .. ':lately', base .. ':wake', 'workers'

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Numbers rise for ever; entries of streams have them as their ids.
local function number(what)
  return string.format('%.0f', redis.call('HINCRBY', NUMBERS, what, 1))
end

local function append(id, body)
  local n = number('queue')
  redis.call('XADD', QUEUE, n .. '-0', 'id', id, 'body', body)
  redis.call('HSET', IDS, id, n)
end

local function entry_number(entry)
  return string.match(entry, '^%d+')
end

-- How often an entry was given out; nil for one that is in nobody's hands.
local function deliveries(n)
  if redis.call('EXISTS', QUEUE) == 0 then return nil end
  local pending = redis.pcall('XPENDING', QUEUE, GROUP, n .. '-0', n .. '-0', 1)
  if pending.err or #pending == 0 then return nil end
  return pending[1][4]
end

local function forget(n, id)
  redis.pcall('XACK', QUEUE, GROUP, n .. '-0')
  redis.call('XDEL', QUEUE, n .. '-0')
  redis.call('ZREM', HIDDEN, n)
  if redis.call('HGET', IDS, id) == n then redis.call('HDEL', IDS, id) end
end

-- Makes a dead letter of an entry; false where there is no room for one.
local function bury(n, count, max)
  if redis.call('XLEN', DEAD) >= max then return false end
  local found = redis.call('XRANGE', QUEUE, n .. '-0', n .. '-0')
  if #found == 0 then
    redis.call('ZREM', HIDDEN, n)
    return true
  end
  local id, body = found[1][2][2], found[1][2][4]
  redis.call('XADD', DEAD, number('dead') .. '-0', 'id', id, 'body', body, 'count', count)
  forget(n, id)
  return true
end
