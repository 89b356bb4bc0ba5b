-- forget leaves of some fields of a hash of shifts no more than a stub, which says when the shift is and when it was last
-- seen, so that it is missed if it does not come again. Of the form with a start time it is at 38, of the older one nowhere.
local function forget(key, ids, gone)
  local known, stubs = redis.call('HMGET', key, unpack(ids)), {}
  for i = 1, #ids do
    local was = known[i]
    local form = was and string.sub(was, 1, 1)
    local stub = form == '\3' and was
    if form == '\2' and #was == 61 or form == '\1' and #was == 57 then
      local ended = string.sub(was, 10, 25) == gone and '\1' or '\0'
      local start = form == '\2' and string.sub(was, 38, 41) or '\0\0\0\0'
      stub = '\3' .. ended .. string.sub(was, 34, 37) .. start .. string.sub(was, -4)
    end
    if stub then
      stubs[#stubs + 1] = ids[i]
      stubs[#stubs + 1] = stub
    end
  end
  redis.call('HDEL', key, unpack(ids)) -- first, so that it works on a full server
  if #stubs > 0 then
    redis.call('HSET', key, unpack(stubs))
  end
end

-- pageOf looks through one page of a hash. Returns the next cursor and the fields, in parts of some hundred.
local function pageOf(key, cursor)
  local page, parts = redis.call('HSCAN', key, cursor, 'COUNT', 500), {}
  for i = 1, #page[2], 2 do
    if i % 1000 == 1 then
      parts[#parts + 1] = {}
    end
    local part = parts[#parts]
    part[#part + 1] = page[2][i]
  end
  return page[1], parts
end
