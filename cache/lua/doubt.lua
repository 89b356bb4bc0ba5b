-- KEYS lease, doubted. ARGV token, claim, pass, then id and: form and fingerprint (17 bytes) by turns. Returns for each
-- '1' if another pass has doubted the same, and '' if none has, which this one then does.
local ids = {}
for i = 4, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
end
local known, again, news = redis.call('HMGET', KEYS[2], unpack(ids)), {}, {}
for i = 1, #ids do
  local was, version = known[i], ARGV[2 * i + 3]
  again[i] = ''
  if was and string.sub(was, 1, 17) == version then
    if string.sub(was, 18, -5) ~= ARGV[3] then
      again[i] = '1'
    end
  else
    news[#news + 1] = ids[i]
    news[#news + 1] = version .. ARGV[3] .. stamp
  end
end
if #news > 0 then
  redis.call('HDEL', KEYS[2], news[1]) -- first, so that it works on a full server
  redis.call('HSET', KEYS[2], unpack(news))
end
return again
