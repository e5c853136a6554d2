#!lua flags=allow-oom
-- Removes a view if it is as it was when its keys were listed. KEYS: state, closed segments. ARGV: life, position and closed segments'
-- entries as they were.
local f = redis.pcall('HMGET', KEYS[1], 'life', 'position', 'closed')
if not f.err and f[1] and (f[1] ~= ARGV[1] or f[2] ~= ARGV[2] or f[3] ~= ARGV[3]) then return 'STALE' end
for at = 1, #KEYS, 7000 do redis.call('UNLINK', unpack(KEYS, at, math.min(at + 6999, #KEYS))) end
return 'DONE'
