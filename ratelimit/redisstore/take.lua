-- Deducts all charges or none.
--
-- ARGV: the caller's name, the lifetime of its reservations (ms), then six for each of KEYS:
-- rate per second, burst, end of the bucket (ms since 1970; 0: never), cost, upto, and
-- whether to reserve (1 or 0).
-- Returns three for each: granted, level afterwards, and wait in microseconds (0: none;
-- -1: for ever).
local life = tonumber(ARGV[2])
local buckets, charges, refused = {}, {}, false

for i, key in ipairs(KEYS) do
  local at = 2 + (i - 1) * 6
  local b = buckets[key] or load_bucket(key, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]))
  buckets[key] = b -- several charges of one bucket add up
  local cost, upto = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local c = {bucket = b, granted = 0, wait = 0, reserve = ARGV[at + 6] == '1'}
  -- A cost above the burst needs a full bucket, and leaves it in debt.
  local need = math.min(cost, b.burst) - dust
  if b.level < need then
    refused = true
    c.wait = math.ceil(fills_in(b, need))
    if b.ends > 0 then c.wait = math.min(c.wait, b.ends * 1000 - now) end
    c.wait = math.max(c.wait, 1)
    if c.wait > 9e15 then c.wait = -1 end
  elseif not refused then
    c.granted = math.max(cost, math.min(upto, math.ceil(b.level / 2)))
    b.level = b.level - c.granted
  end
  c.level = b.level
  charges[i] = c
end

local out = {}
for _, c in ipairs(charges) do
  if refused then
    c.bucket.level = c.bucket.level + c.granted
    c.level = c.level + c.granted
    c.granted = 0
  elseif c.reserve then
    reserve(c.bucket, ARGV[1], c.granted, life)
  end
  out[#out + 1] = format(c.granted)
  out[#out + 1] = format(c.level)
  out[#out + 1] = format(c.wait)
end

for _, b in pairs(buckets) do
  if b.changed or not refused then save_bucket(b, life) end
end
return out
