-- KEYS lease, shifts, intents. ARGV token, claim, step.
if tonumber(ARGV[3]) < tonumber(lease[3] or 0) then
  return -1
end
local ids = redis.call('HKEYS', KEYS[3])
for from = 1, #ids, 500 do
  redis.call('HDEL', KEYS[2], unpack(ids, from, math.min(from + 499, #ids)))
end
redis.call('HDEL', KEYS[1], 'claim')
redis.call('HSET', KEYS[1], 'claim', ARGV[2], 'step', ARGV[3])
return #ids
