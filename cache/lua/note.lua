-- KEYS lease, missing (or doubted, to drop only). ARGV token, claim, then of each shift: id, note without its time or '' for none, seconds until it
-- is to be asked for again.
local ids, notes = {}, {}
for i = 3, #ARGV, 3 do
  ids[#ids + 1] = ARGV[i]
  if ARGV[i + 1] ~= '' then
    notes[#notes + 1] = ARGV[i]
    notes[#notes + 1] = ARGV[i + 1] .. bytes(now + tonumber(ARGV[i + 2]))
  end
end
if #ids > 0 then -- first, so that it works on a full server
  redis.call('HDEL', KEYS[2], unpack(ids))
end
if #notes > 0 then
  redis.call('HSET', KEYS[2], unpack(notes))
end
return 0
