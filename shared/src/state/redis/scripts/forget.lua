#!lua flags=allow-oom
-- Removes a view if it is as it was when its keys were listed. KEYS: meta, all other keys. ARGV: life and done as they were.
local meta = redis.pcall('HMGET', KEYS[1], 'life', 'done')
if not meta.err and meta[1] and (meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2]) then return 'STALE' end
for at = 1, #KEYS, 7000 do redis.call('UNLINK', unpack(KEYS, at, math.min(at + 6999, #KEYS))) end
return 'DONE'
