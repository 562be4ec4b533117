-- Dead letters after a number (-1: from the first on): of each its number, how often it was given out, and itself. Whether there are more comes first.
local after, limit, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local start = after == '-1' and '-' or ('(' .. after .. '-0')
local reply, count, bytes = { '0' }, 0, 0
while true do
  -- A few at a time, since each may be large.
  local found = redis.call('XRANGE', DEAD, start, '+', 'COUNT', 10)
  if #found == 0 then return reply end
  for _, entry in ipairs(found) do
    if count >= limit or bytes >= most then
      reply[1] = '1'
      return reply
    end
    start, count, bytes = '(' .. entry[1], count + 1, bytes + #entry[2][4]
    for _, part in ipairs({ entry_number(entry[1]), entry[2][6], entry[2][4] }) do table.insert(reply, part) end
  end
end
