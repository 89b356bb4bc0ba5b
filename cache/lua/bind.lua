-- KEYS lease, layout. ARGV token, '1' to accept a difference, then name and value by turns.
-- Returns the name and the remembered value of the first field that differs, or nothing.
local news = {}
for i = 3, #ARGV, 2 do
  local was = redis.call('HGET', KEYS[2], ARGV[i])
  if was ~= ARGV[i + 1] then
    if was and ARGV[2] ~= '1' then
      return {ARGV[i], was}
    end
    news[#news + 1] = ARGV[i]
    news[#news + 1] = ARGV[i + 1]
  end
end
if #news > 0 then
  redis.call('HDEL', KEYS[2], news[1]) -- first, so that it works on a full server
  redis.call('HSET', KEYS[2], unpack(news))
end
return {}
