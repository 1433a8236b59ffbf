-- The account of a session (KEYS[1], "epoch name"): name and shown; nothing where the session is
-- unknown, or older than the last "log out everywhere" of its account.
local session = redis.call('GET', KEYS[1])
local epoch, name = string.match(session or '', '^(%d+) (.+)$')
if not epoch then return false end
local account = redis.call('HMGET', 'account:' .. name, 'epoch', 'shown')
if account[1] ~= epoch then return false end
return {name, account[2]}
