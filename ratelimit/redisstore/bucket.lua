-- The common part of both scripts. A bucket is a hash: "l" is its level, for a budget the
-- spent tokens (negative), "t" the time of that level (microseconds, by the server's clock),
-- "h:NAME" the reservation of the replica NAME with its expiry (milliseconds), and "n" a time
-- before which no reservation expires.
local dust = 1e-6 -- tolerated rounding error of a level
local max_holders = 1000
local max_skew = 1000000 -- of the clocks of a server and its replica (microseconds)
local spare = 1000 -- additional lifetime of a bucket (ms)
local after_end = 3600 * 1000 -- the same for a budget, as the clocks of replicas differ
local max_ttl = 400 * 24 * 3600 * 1000

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- format formats a number with enough digits for an exact round trip.
local function format(n) return string.format('%.17g', n) end

-- reclaim returns expired reservations to the bucket.
local function reclaim(b)
  b.next, b.changed = nil, true
  local fields = redis.call('HGETALL', b.key)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'h:' then
      local reserved, ends = string.match(fields[i + 1], '^(%S+) (%S+)$')
      if tonumber(ends) * 1000 <= now then
        b.level = b.level + tonumber(reserved)
        redis.call('HDEL', b.key, fields[i])
      else
        b.next = math.min(b.next or math.huge, tonumber(ends))
      end
    end
  end
end

-- load_bucket reads the present state of a bucket. A missing one is full. The size is the
-- caller's, unless the bucket is larger and keep is set.
local function load_bucket(key, rate, burst, ends, keep)
  local b = {key = key, rate = rate, burst = burst, ends = ends, level = burst, at = now}
  local stored = redis.call('HMGET', key, 'l', 't', 'n')
  if not stored[1] then return b end
  local at = tonumber(stored[2])
  -- A clock that runs backwards mints no tokens. After a jump it counts from the new time, or
  -- nothing would refill until the old one is reached.
  if at - now > max_skew then at, b.changed = now, true end
  b.at = math.max(at, now)
  local level = tonumber(stored[1])
  if ends > 0 then level = level + burst end
  if keep then
    b.burst = math.max(burst, level)
    b.ttl = redis.call('PTTL', key) - spare -- a larger one takes longer to fill than its level shows
  end
  b.level = level + (b.at - at) * rate / 1e6
  b.next = tonumber(stored[3] or '')
  if b.next and b.next * 1000 <= now then reclaim(b) end
  b.level = math.min(b.burst, b.level)
  return b
end

-- fills_in returns the time until a bucket reaches a level (microseconds).
local function fills_in(b, level)
  if level <= b.level then return b.at - now end
  if b.rate == 0 then return math.huge end
  return (level - b.level) / b.rate * 1e6 + b.at - now
end

-- reserve adds to a replica's reservation and renews it. For a negative amount it returns the
-- part that was reserved: a reservation is never negative.
local function reserve(b, name, amount, life)
  local field = 'h:' .. name
  local old = redis.call('HGET', b.key, field)
  local reserved = old and tonumber(string.match(old, '^(%S+)')) or 0
  local left = math.max(reserved + amount, 0)
  if left == 0 then
    if old then redis.call('HDEL', b.key, field) end
  elseif old or redis.call('HLEN', b.key) < max_holders then -- beyond that it counts as spent
    local ends = math.ceil(now / 1000) + life
    redis.call('HSET', b.key, field, format(left) .. ' ' .. format(ends))
    b.next = math.min(b.next or math.huge, ends)
  end
  return math.min(reserved, -amount)
end

-- save_bucket writes a bucket. It expires when its removal changes nothing.
local function save_bucket(b, life)
  local level, ttl = b.level, fills_in(b, b.burst) / 1000
  if b.ends > 0 then
    level = level - b.burst
    ttl = math.max(b.ends - now / 1000, 0) + after_end
  end
  ttl = math.max(ttl, b.ttl or 0)
  redis.call('HSET', b.key, 'l', format(level), 't', format(b.at))
  if b.next then
    redis.call('HSET', b.key, 'n', format(b.next))
    ttl = math.max(ttl, b.next - now / 1000 + life) -- no reservation expires later
  else
    redis.call('HDEL', b.key, 'n')
  end
  redis.call('PEXPIRE', b.key, format(math.ceil(math.min(ttl + spare, max_ttl))))
end
