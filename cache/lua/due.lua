-- KEYS lease, swept. ARGV token, claim, seconds between sweeps, '1' after a sweep and '0' before. Returns whether
-- one is due. A last sweep in the future comes from a clock that was set back.
if ARGV[4] == '1' then
  redis.call('DEL', KEYS[2])
  redis.call('SET', KEYS[2], string.format('%d', now))
  return 0
end
local swept = redis.call('GET', KEYS[2])
local last = swept and tonumber(swept)
if last and last <= now and now - last < tonumber(ARGV[3]) then
  return 0
end
return 1
