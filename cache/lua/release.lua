-- KEYS lease. ARGV token.
return redis.call('DEL', KEYS[1])
