-- KEYS lease, shifts, intents. ARGV token, claim, then id and: raw hash (8 bytes), fingerprint (16), start time (4, 0 for
-- none) by turns.
local sizes = {['\1'] = 57, ['\2'] = 61} -- of the forms of a shift
for from = 3, #ARGV, 1000 do
  local ids = {}
  for i = from, math.min(from + 998, #ARGV - 1), 2 do
    ids[#ids + 1] = ARGV[i]
  end
  local known = redis.call('HMGET', KEYS[2], unpack(ids))
  local open = redis.call('HMGET', KEYS[3], unpack(ids))
  local shifts = {}
  for i = 1, #ids do
    local was, seen = known[i], ARGV[from + 2 * i - 1]
    if was and not open[i] and #was == sizes[string.sub(was, 1, 1)] and string.sub(was, 10, 25) == string.sub(seen, 9, 24) then
      local form, start = string.sub(was, 1, 1), string.sub(seen, 25)
      if form == '\1' and start ~= '\0\0\0\0' then
        form, was = '\2', string.sub(was, 1, 37) .. start .. string.sub(was, 38)
      end
      shifts[#shifts + 1] = ids[i]
      shifts[#shifts + 1] = form .. string.sub(seen, 1, 24) .. string.sub(was, 26, -5) .. stamp
    end
  end
  if #shifts > 0 then
    redis.call('HSET', KEYS[2], unpack(shifts))
  end
end
return 0
