-- Replaces a progress if the stored revision is the previous one.
-- KEYS[1]: the rollout. ARGV: the previous revision, the new one, the progress.
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
if revision ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'progress', ARGV[3])
return 1
