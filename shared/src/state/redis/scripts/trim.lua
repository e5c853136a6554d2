#!lua flags=allow-oom
-- Raises the floor and drops what lies below it, if the view is as it was when that was decided.
-- KEYS: state, closed segments to drop. ARGV: life, floor and closed segments' entries as they were; the position as it was if the floor
-- lies beyond it, else ''; what to set (names and values).
local f = redis.pcall('HMGET', KEYS[1], 'life', 'floor', 'closed', 'position')
if f.err or f[1] ~= ARGV[1] or f[2] ~= ARGV[2] or f[3] ~= ARGV[3] then return 'STALE' end
if ARGV[4] ~= '' and f[4] ~= ARGV[4] then return 'STALE' end
redis.call('HSET', KEYS[1], unpack(ARGV, 5, #ARGV))
for at = 2, #KEYS, 7000 do redis.call('UNLINK', unpack(KEYS, at, math.min(at + 6999, #KEYS))) end
return 'DONE'
