-- KEYS lease, swept or called. ARGV token, claim, seconds from one time to the next, '1' after it was done and '0' before.
-- Returns whether it is due. A last time in the future comes from a clock that was set back.
if ARGV[4] == '1' then
  redis.call('DEL', KEYS[2])
  redis.call('SET', KEYS[2], string.format('%d', now))
  return 0
end
local last = redis.call('GET', KEYS[2])
last = last and tonumber(last)
if last and last <= now and now - last < tonumber(ARGV[3]) then
  return 0
end
return 1
