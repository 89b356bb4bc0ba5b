-- KEYS lease. ARGV token, name, milliseconds. Returns the name of another holder, or ''.
local held = redis.call('HMGET', KEYS[1], 'owner', 'name')
if held[1] and held[1] ~= ARGV[1] then
  return held[2]
end
if not held[1] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'name', ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return ''
