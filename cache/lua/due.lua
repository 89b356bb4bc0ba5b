-- KEYS lease, swept or called, and to 'ask': shifts, without which there is nothing to do; to 'begin': in_step, if the pass
-- left nothing undone. ARGV token, claim, seconds from one time to the next, and: 'done' after it was done, 'ask' before, or
-- 'begin', which takes it for done now if it never was. Returns whether it is due. A last time in the future comes from a
-- clock that was set back.
if ARGV[4] == 'begin' and KEYS[3] then
  redis.call('DEL', KEYS[3])
  redis.call('SET', KEYS[3], string.format('%d', now))
end
local last = redis.call('GET', KEYS[2])
local done = ARGV[4] == 'done' or ARGV[4] == 'begin' and not last
if not done then
  last = last and tonumber(last)
  if last and last <= now and now - last < tonumber(ARGV[3]) then
    return 0
  end
  done = ARGV[4] == 'ask' and redis.call('EXISTS', KEYS[3]) == 0
end
if done then
  redis.call('DEL', KEYS[2])
  redis.call('SET', KEYS[2], string.format('%d', now))
  return 0
end
return 1
