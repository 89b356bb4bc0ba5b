-- KEYS lease, intents, wanted. ARGV token, claim, step, then id and intent by turns.
local step, last = tonumber(ARGV[3]), tonumber(lease[3] or 0)
if step < last then
  return -1
end
if step > last then
  for from = 4, #ARGV, 1000 do
    redis.call('HSET', KEYS[2], unpack(ARGV, from, math.min(from + 999, #ARGV)))
  end
  redis.call('HSET', KEYS[1], 'step', ARGV[3])
  if redis.call('EXISTS', KEYS[3]) == 1 then
    for i = 4, #ARGV, 2 do
      if redis.call('HGET', KEYS[3], ARGV[i]) then
        redis.call('HSET', KEYS[3], ARGV[i], string.sub(ARGV[i + 1], 1, 9))
      end
    end
  end
end
return redis.call('HLEN', KEYS[2])
