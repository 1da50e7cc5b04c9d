-- Raises a tag to a revision above all others, and publishes it.
-- KEYS[1]: the revisions. ARGV: the tag, how long they matter, in microseconds, the channel.
local now = redis.call('TIME')
local revision = now[1] * 1000000 + now[2]
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if last[2] and tonumber(last[2]) >= revision then
  revision = tonumber(last[2]) + 1
end
local text = string.format('%.0f', revision)
redis.call('ZADD', KEYS[1], text, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', revision - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[2] / 1000))
redis.call('PUBLISH', ARGV[3], text .. ' ' .. ARGV[1])
return text
