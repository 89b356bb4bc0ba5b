-- KEYS lease, shifts, intents, aside, ends, wanted, doubted, letters. ARGV token, claim, count of partitions, count of acknowledged shifts; for
-- each partition its number and highest offset; for each acknowledged shift its id and: the first 9 bytes of its intent
-- (form and mark), its shift without the two times; for each shift set aside its id, its field in aside, and: the first
-- 9 bytes of its intent or '', its note without the time, its field in letters, its letter or '' for none.
local function intents(ids)
  return redis.call('HMGET', KEYS[3], unpack(ids))
end

-- An intent may also be of the form before this one.
local function same(intent, head)
  local begin = string.sub(intent, 1, 9)
  return begin == head or begin == '\1' .. string.sub(head, 2)
end

local at = 5 + 2 * tonumber(ARGV[3])
local bounds = at + 2 * tonumber(ARGV[4])
local wishes = redis.call('EXISTS', KEYS[6]) == 1
local doubts = redis.call('EXISTS', KEYS[7]) == 1
local stood = false

for from = at, bounds - 1, 1000 do
  local to = math.min(from + 998, bounds - 2)
  local ids = {}
  for i = from, to, 2 do
    ids[#ids + 1] = ARGV[i]
  end
  local held, done, shifts = intents(ids), {}, {}
  for i = 1, #ids do
    local settled = ARGV[from + 2 * i - 1]
    if held[i] and same(held[i], string.sub(settled, 1, 9)) then
      done[#done + 1] = ids[i]
      -- A wish that came after the intent is not served by it: the shift stays forgotten.
      if not (wishes and redis.call('HGET', KEYS[6], ids[i]) == '') then
        shifts[#shifts + 1] = ids[i]
        shifts[#shifts + 1] = string.sub(settled, 10) .. stamp .. stamp
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

-- A call of which nothing stands any more may be a late copy from before a Forget: its offsets are not news.
if stood then
  for i = 5, at - 1, 2 do
    if tonumber(ARGV[i + 1]) > tonumber(redis.call('HGET', KEYS[5], ARGV[i]) or -1) then
      redis.call('HSET', KEYS[5], ARGV[i], ARGV[i + 1])
    end
  end
end

for i = bounds, #ARGV, 6 do
  local mark = ARGV[i + 2]
  local stands = mark == ''
  if not stands then
    local held = redis.call('HGET', KEYS[3], ARGV[i])
    stands = held and same(held, mark)
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
