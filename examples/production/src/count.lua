-- Counts one more in KEYS[1], which is forgotten a minute after the first.
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], 60) end
return count
