-- A new account (KEYS[1]), counted in KEYS[2]: 1, 0 where the name is taken, -1 where there are
-- ARGV[3] accounts already.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if tonumber(redis.call('GET', KEYS[2]) or '0') >= tonumber(ARGV[3]) then return -1 end
redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], 'password', ARGV[1], 'shown', ARGV[2], 'epoch', 0)
return 1
