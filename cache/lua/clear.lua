-- KEYS lease, shifts, intents. ARGV token, claim, step of the claim, cursor, fingerprint of a tombstone. Forgets what is
-- remembered of the shifts of one page of intents, and returns the next cursor. After a later step it is refused: it is a
-- copy that came late.
if ARGV[3] ~= lease[3] then
  return -1
end
local next, parts = pageOf(KEYS[3], ARGV[4])
for _, ids in ipairs(parts) do
  forget(KEYS[2], ids, ARGV[5])
end
return next
