-- now is the time in seconds, stamp the same as four bytes. Only this server's clock is ever stored.
local now = math.min(tonumber(redis.call('TIME')[1]), 4294967295)
local stamp = string.char(math.floor(now / 16777216), math.floor(now / 65536) % 256, math.floor(now / 256) % 256, now % 256)
