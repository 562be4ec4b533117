-- How many messages of the topic come after a position: those without gaps, or all that are kept where it is before them.
local last = tonumber(redis.call('HGET', NUMBERS, 'topic') or '0')
return math.min(redis.call('XLEN', TOPIC), math.max(0, last - tonumber(ARGV[1])))
