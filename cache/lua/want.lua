-- KEYS shifts, aside, wanted. ARGV ids. Returns how many of them were remembered.
local remembered = redis.call('HDEL', KEYS[1], unpack(ARGV))
redis.call('HDEL', KEYS[2], unpack(ARGV))
for i = 1, #ARGV do
  redis.call('HSET', KEYS[3], ARGV[i], '')
end
return remembered
