-- KEYS lease, shifts, intents. ARGV token, claim, step of the claim, cursor. Forgets what is remembered of the shifts
-- of one page of intents, and returns the next cursor. After a later step it is refused: it is a copy that came late.
if ARGV[3] ~= lease[3] then
  return -1
end
local page = redis.call('HSCAN', KEYS[3], ARGV[4], 'COUNT', 500)
local ids = {}
for i = 1, #page[2], 2 do
  ids[#ids + 1] = page[2][i]
end
for from = 1, #ids, 500 do
  redis.call('HDEL', KEYS[2], unpack(ids, from, math.min(from + 499, #ids)))
end
return page[1]
