-- KEYS lease, shifts, intents, aside, ends, wanted, doubted, letters. ARGV token, claim, count of partitions, count of runs;
-- for each partition its number and highest offset; for each run of acknowledged shifts, whose intents have the same mark:
-- the first 9 bytes of these intents (form and mark), how many, and for each its id and its shift without the two times;
-- for each shift set aside its id, its field in aside, and: the first 9 bytes of its intent or '', its note without the
-- time, its field in letters, its letter or '' for none.
-- Texts are what costs here: each one that a script makes or is given is looked up among all that there are.

-- older is what an intent of the form before this one begins with.
local function older(head)
  return '\1' .. string.sub(head, 2)
end

local at = 5 + 2 * tonumber(ARGV[3])
local stamps = stamp .. stamp
local wishes = redis.call('EXISTS', KEYS[6]) == 1
local doubts = redis.call('EXISTS', KEYS[7]) == 1
local stood = false

for run = 1, tonumber(ARGV[4]) do
  local head, before = ARGV[at], older(ARGV[at])
  local bounds = at + 2 + 2 * tonumber(ARGV[at + 1])
  for from = at + 2, bounds - 1, 1000 do
    local to = math.min(from + 998, bounds - 2)
    local ids = {}
    for i = from, to, 2 do
      ids[#ids + 1] = ARGV[i]
    end
    local held, done, shifts = redis.call('HMGET', KEYS[3], unpack(ids)), {}, {}
    for i = 1, #ids do
      local begin = held[i] and string.sub(held[i], 1, 9)
      if begin == head or begin == before then
        done[#done + 1] = ids[i]
        -- A wish that came after the intent is not served by it: the shift stays forgotten.
        if not (wishes and redis.call('HGET', KEYS[6], ids[i]) == '') then
          shifts[#shifts + 1] = ids[i]
          shifts[#shifts + 1] = ARGV[from + 2 * i - 1] .. stamps
        end
      end
    end
    if #done > 0 then
      stood = true
      redis.call('HDEL', KEYS[3], unpack(done))
      if doubts then
        redis.call('HDEL', KEYS[7], unpack(done))
      end
      if #shifts > 0 then
        redis.call('HSET', KEYS[2], unpack(shifts))
      end
      if wishes then
        for i = 1, #shifts, 2 do
          redis.call('HDEL', KEYS[6], shifts[i])
        end
      end
    end
  end
  at = bounds
end

-- A call of which nothing stands any more may be a late copy from before a Forget: its offsets are not news.
if stood then
  for i = 5, 4 + 2 * tonumber(ARGV[3]), 2 do
    if tonumber(ARGV[i + 1]) > tonumber(redis.call('HGET', KEYS[5], ARGV[i]) or -1) then
      redis.call('HSET', KEYS[5], ARGV[i], ARGV[i + 1])
    end
  end
end

for i = at, #ARGV, 6 do
  local mark = ARGV[i + 2]
  local stands = mark == ''
  if not stands then
    local held = redis.call('HGET', KEYS[3], ARGV[i])
    local begin = held and string.sub(held, 1, 9)
    stands = begin == mark or begin == older(mark)
    if stands then
      redis.call('HDEL', KEYS[3], ARGV[i])
    end
  end
  if stands then
    redis.call('HDEL', KEYS[6], ARGV[i])
    redis.call('HSET', KEYS[4], ARGV[i + 1], ARGV[i + 3] .. stamp)
    if ARGV[i + 5] ~= '' then
      redis.call('HSET', KEYS[8], ARGV[i + 4], ARGV[i + 5])
    end
  end
end
return redis.call('HLEN', KEYS[3])
