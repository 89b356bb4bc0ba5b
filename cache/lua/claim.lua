-- KEYS lease, intents. ARGV token, claim, step. Returns how many intents are open.
if tonumber(ARGV[3]) < tonumber(lease[3] or 0) then
  return -1
end
redis.call('HDEL', KEYS[1], 'claim')
redis.call('HSET', KEYS[1], 'claim', ARGV[2], 'step', ARGV[3])
return redis.call('HLEN', KEYS[2])
