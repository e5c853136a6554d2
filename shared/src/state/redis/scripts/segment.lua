#!lua flags=no-writes
-- The entries of all closed segments and the value of one. KEYS: state, the segment.
local closed = redis.pcall('HGET', KEYS[1], 'closed')
if type(closed) ~= 'string' then return false end
local value = redis.pcall('GET', KEYS[2])
return type(value) == 'string' and { closed, value }
