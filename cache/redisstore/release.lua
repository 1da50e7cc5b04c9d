-- Ends the claim of an owner. KEYS[1]: the claim. ARGV: the owner.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
