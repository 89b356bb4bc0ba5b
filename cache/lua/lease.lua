-- Goes before each step that needs the lease. KEYS[1] is the lease, ARGV[1] the token of the asker.
local lease = redis.call('HMGET', KEYS[1], 'owner', 'claim', 'step')
if lease[1] ~= ARGV[1] then
  return -1
end
