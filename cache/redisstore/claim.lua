-- Grants a key to an owner, unless another owner has it.
-- KEYS[1]: the claim. ARGV: the owner, the time to live in milliseconds.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
