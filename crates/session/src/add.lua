-- Keeps a session (KEYS[1]) and notes when it ends in a sorted set (KEYS[2]), so that there are
-- never more than ARGV[3]: the one that ends first goes. A script is one step to Redis.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], now + ARGV[2], KEYS[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
if redis.call('ZCARD', KEYS[2]) > tonumber(ARGV[3]) then
  redis.call('DEL', redis.call('ZPOPMIN', KEYS[2])[1])
end
