-- Changes an account (KEYS[1]), if it is there, by a command (ARGV[1]) for a field of a hash.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call(ARGV[1], KEYS[1], ARGV[2], ARGV[3])
return 1
