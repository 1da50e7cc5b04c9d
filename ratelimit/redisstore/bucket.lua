-- What both scripts begin with. A bucket is a hash: "l" is its level, of a budget
-- what was spent (below 0), "t" when that was (microseconds, by the server's clock), "h:NAME" what the replica NAME holds and
-- until when (milliseconds), and "n" a time before which none of these ends.
local dust = 1e-6 -- what rounding may have taken from a level
local max_holders = 1000
local spare = 1000 -- how much longer than needed a bucket stays (ms)
local after_end = 3600 * 1000 -- the same for a budget: clocks of replicas differ
local max_ttl = 400 * 24 * 3600 * 1000

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- Enough digits that a number comes back as it was.
local function format(n) return string.format('%.17g', n) end

-- reclaim returns to the bucket what replicas hold that were not heard of in time.
local function reclaim(b)
  b.next, b.changed = nil, true
  local fields = redis.call('HGETALL', b.key)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'h:' then
      local held, ends = string.match(fields[i + 1], '^(%S+) (%S+)$')
      if tonumber(ends) * 1000 <= now then
        b.level = b.level + tonumber(held)
        redis.call('HDEL', b.key, fields[i])
      else
        b.next = math.min(b.next or math.huge, tonumber(ends))
      end
    end
  end
end

-- load_bucket reads a bucket, as it is now. One that is not there is full. The size
-- is what the caller says, unless the bucket is larger and that is to be kept.
local function load_bucket(key, rate, burst, ends, keep)
  local b = {key = key, rate = rate, burst = burst, ends = ends, level = burst, at = now}
  local stored = redis.call('HMGET', key, 'l', 't', 'n')
  if not stored[1] then return b end
  local at = tonumber(stored[2])
  b.at = math.max(at, now) -- a clock that runs backwards mints nothing
  local level = tonumber(stored[1])
  if ends > 0 then level = level + burst end
  if keep then
    b.burst = math.max(burst, level)
    b.ttl = redis.call('PTTL', key) - spare -- a larger one takes longer to fill than its level tells
  end
  b.level = level + (b.at - at) * rate / 1e6
  b.next = tonumber(stored[3] or '')
  if b.next and b.next * 1000 <= now then reclaim(b) end
  b.level = math.min(b.burst, b.level)
  return b
end

-- fills_in is the time until a bucket has filled up to a level (microseconds).
local function fills_in(b, level)
  if level <= b.level then return b.at - now end
  if b.rate == 0 then return math.huge end
  return (level - b.level) / b.rate * 1e6 + b.at - now
end

-- hold adds to what a replica holds and keeps it alive. Of a negative amount it
-- returns how much was there: a hold never is less than nothing.
local function hold(b, name, amount, life)
  local field = 'h:' .. name
  local old = redis.call('HGET', b.key, field)
  local held = old and tonumber(string.match(old, '^(%S+)')) or 0
  local left = math.max(held + amount, 0)
  if left == 0 then
    if old then redis.call('HDEL', b.key, field) end
  elseif old or redis.call('HLEN', b.key) < max_holders then -- beyond: it counts as spent
    local ends = math.ceil(now / 1000) + life
    redis.call('HSET', b.key, field, format(left) .. ' ' .. format(ends))
    b.next = math.min(b.next or math.huge, ends)
  end
  return math.min(held, -amount)
end

-- save_bucket writes a bucket. It vanishes when nobody would miss it.
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
    ttl = math.max(ttl, b.next - now / 1000 + life) -- no hold ends later
  else
    redis.call('HDEL', b.key, 'n')
  end
  redis.call('PEXPIRE', b.key, format(math.ceil(math.min(ttl + spare, max_ttl))))
end
