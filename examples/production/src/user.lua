-- Changes the users: KEYS[1] is a hash from id to name, KEYS[2] the last id, KEYS[3] a mark that
-- is another one after each change. ARGV: the new mark, an id ('' for a new user), a name ('' to
-- remove the user), how many users there may be. Returns the id, 0 for an unknown one, -1 where
-- there are too many.
local id = ARGV[2]
if id == '' then
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return -1 end
  id = redis.call('INCR', KEYS[2])
elseif redis.call('HEXISTS', KEYS[1], id) == 0 then
  return 0
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], id)
else
  redis.call('HSET', KEYS[1], id, ARGV[3])
end
redis.call('SET', KEYS[3], ARGV[1])
return tonumber(id)
