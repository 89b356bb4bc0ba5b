-- KEYS shifts. Calls nothing. Returns 'told' and the commands of the other scripts that are refused to who asks, or
-- 'untold' before Redis 7.
if not redis.acl_check_cmd then
  return {'untold'}
end
local refused = {'told'}
for _, call in ipairs({
  {'HMGET', KEYS[1], 'f'}, {'HGET', KEYS[1], 'f'}, {'HSET', KEYS[1], 'f', 'v'}, {'HDEL', KEYS[1], 'f'},
  {'HLEN', KEYS[1]}, {'HSCAN', KEYS[1], '0'}, {'GET', KEYS[1]}, {'SET', KEYS[1], 'v'},
  {'DEL', KEYS[1]}, {'UNLINK', KEYS[1]}, {'EXISTS', KEYS[1]}, {'PEXPIRE', KEYS[1], '1'}, {'TIME'}, {'EVALSHA', '', '0'},
}) do
  if not redis.acl_check_cmd(unpack(call)) then
    refused[#refused + 1] = call[1]
  end
end
return refused
