-- The mark (KEYS[2]) and all users (KEYS[1]), unless the mark is ARGV[1]: then nothing is new.
local mark = redis.call('GET', KEYS[2]) or ''
if mark == ARGV[1] and mark ~= '' then return false end
return {mark, redis.call('HGETALL', KEYS[1])}
