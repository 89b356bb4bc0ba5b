-- KEYS lease, intents. ARGV token, claim, step, then id and intent by turns.
local step, last = tonumber(ARGV[3]), tonumber(lease[3] or 0)
if step < last then
  return -1
end
if step > last then
  for from = 4, #ARGV, 1000 do
    redis.call('HSET', KEYS[2], unpack(ARGV, from, math.min(from + 999, #ARGV)))
  end
  redis.call('HSET', KEYS[1], 'step', ARGV[3])
end
return redis.call('HLEN', KEYS[2])
