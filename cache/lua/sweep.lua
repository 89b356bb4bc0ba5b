-- KEYS lease, a hash. ARGV token, claim, seconds to keep, known forms, cursor. Looks through one page and returns
-- how many it dropped and the next cursor. The last four bytes of a value say when it was last seen; a value of a
-- form that is not known is as good as forgotten.
local page = redis.call('HSCAN', KEYS[2], ARGV[5], 'COUNT', 500)
local old = {}
for i = 1, #page[2], 2 do
  local value = page[2][i + 1]
  local a, b, c, d = string.byte(value, -4, -1)
  if #value < 13 or not string.find(ARGV[4], string.sub(value, 1, 1), 1, true) or now - (((a * 256 + b) * 256 + c) * 256 + d) > tonumber(ARGV[3]) then
    old[#old + 1] = page[2][i]
  end
end
for from = 1, #old, 500 do
  redis.call('HDEL', KEYS[2], unpack(old, from, math.min(from + 499, #old)))
end
return {tostring(#old), page[1]}
