-- KEYS lease. ARGV token, milliseconds.
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
