-- Ends reservations, or parts of them, and debits the spent tokens.
--
-- ARGV: the caller's name, the lifetime of its reservations (ms), then five for each of KEYS:
-- rate per second, burst, end of the bucket (ms since 1970; 0: never), the part of the
-- reservation that ends, and the spent tokens.
-- Returns nothing.
local life = tonumber(ARGV[2])

for i, key in ipairs(KEYS) do
  local at = 2 + (i - 1) * 5
  local b = load_bucket(key, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), true)
  -- An expired reservation has returned to the bucket: then only the spent tokens count.
  local back = reserve(b, ARGV[1], -tonumber(ARGV[at + 4]), life)
  local level = math.min(b.burst, b.level + back - tonumber(ARGV[at + 5]))
  if b.ttl and b.rate > 0 and level < b.level then b.ttl = b.ttl + (b.level - level) / b.rate * 1000 end
  b.level = level
  save_bucket(b, life)
end
return {}
