-- Ends holds, or parts of them, by what was spent.
--
-- ARGV: the caller's name, how long its holds live (ms), then five for each of KEYS:
-- rate per second, burst, when the bucket ends (ms since 1970; 0: never), how much of
-- the hold ends, and how much was spent.
-- Returns nothing.
local life = tonumber(ARGV[2])

for i, key in ipairs(KEYS) do
  local at = 2 + (i - 1) * 5
  local b = load_bucket(key, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), true)
  -- What is no longer held has returned to the bucket: there only what was spent counts.
  local back = hold(b, ARGV[1], -tonumber(ARGV[at + 4]), life)
  local level = math.min(b.burst, b.level + back - tonumber(ARGV[at + 5]))
  if b.ttl and b.rate > 0 and level < b.level then b.ttl = b.ttl + (b.level - level) / b.rate * 1000 end
  b.level = level
  save_bucket(b, life)
end
return {}
