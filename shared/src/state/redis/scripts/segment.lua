#!lua flags=no-writes
-- The entry and the value of a closed segment. KEYS: meta, the segment. ARGV: its start.
local meta = redis.pcall('HMGET', KEYS[1], 'begun', 'done', 'closed:' .. ARGV[1])
if meta.err or not meta[3] or meta[1] ~= meta[2] then return false end
local value = redis.pcall('GET', KEYS[2])
return type(value) == 'string' and { meta[3], value }
