-- Goes after lease.lua in each step of a term. ARGV[2] is its claim. An empty claim is nobody's: none was made yet.
if lease[2] ~= ARGV[2] then
  return -1
end
