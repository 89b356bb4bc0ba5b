-- KEYS lease, shifts, ends. ARGV token.
redis.call('UNLINK', KEYS[2], KEYS[3])
return 0
