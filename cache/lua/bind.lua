-- KEYS lease, shifts, layout, ends. ARGV token, '1' to accept a difference, then name and value by turns.
-- Returns the name and the remembered value of the first field that differs, or nothing.
local differs, news = false, {}
for i = 3, #ARGV, 2 do
  local was = redis.call('HGET', KEYS[3], ARGV[i])
  if was ~= ARGV[i + 1] then
    if was and ARGV[2] ~= '1' then
      return {ARGV[i], was}
    end
    differs = differs or was ~= false
    news[#news + 1] = ARGV[i]
    news[#news + 1] = ARGV[i + 1]
  end
end
if differs then
  redis.call('UNLINK', KEYS[2], KEYS[4])
end
if #news > 0 then
  redis.call('HSET', KEYS[3], unpack(news))
end
return {}
