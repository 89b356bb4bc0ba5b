-- KEYS lease, intents, in_step. ARGV token, name, milliseconds. Goes after now.lua. Returns the name of another holder, or
-- '', how many intents are open, the seconds since a pass was last in step, or -1, and 1 if none ever was: what never was
-- in step is behind since somebody first had the lease, and that time is kept below zero.
local held, since = redis.call('HMGET', KEYS[1], 'owner', 'name'), redis.call('GET', KEYS[3])
local open = redis.call('HLEN', KEYS[2])
local taken = held[1] and held[1] ~= ARGV[1]
since = since and tonumber(since)
if not since and not taken then
  since = -now
end
local age, never = -1, 0
if since then
  age, never = math.max(now - math.abs(since), 0), since < 0 and 1 or 0
end
if taken then
  return {held[2], open, age, never}
end
if not held[1] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'name', ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if since == -now then
  redis.call('DEL', KEYS[3]) -- first, so that it works on a full server
  redis.call('SET', KEYS[3], string.format('%d', since))
end
return {'', open, age, never}
