-- KEYS lease, wanted. ARGV token, claim, id. A wish that an intent is about to serve stays.
if redis.call('HGET', KEYS[2], ARGV[3]) == '' then
  redis.call('HDEL', KEYS[2], ARGV[3])
end
return 0
