-- now is the time in seconds, stamp the same as four bytes. Only this server's clock is ever stored.
local function bytes(seconds)
  local s = math.min(seconds, 4294967295)
  return string.char(math.floor(s / 16777216), math.floor(s / 65536) % 256, math.floor(s / 256) % 256, s % 256)
end
local now = math.min(tonumber(redis.call('TIME')[1]), 4294967295)
local stamp = bytes(now)
