-- KEYS lease, shifts, ends. ARGV token, cursor, fingerprint of a tombstone. Forgets one page of what is remembered, and
-- returns the next cursor. What is acknowledged goes last: until then it is known that there is something to forget.
local next, parts = pageOf(KEYS[2], ARGV[2])
for _, ids in ipairs(parts) do
  forget(KEYS[2], ids, ARGV[3])
end
if next == '0' then
  redis.call('UNLINK', KEYS[3])
end
return next
