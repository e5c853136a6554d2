#!lua flags=allow-oom
-- Raises the floor and drops what lies below it, if the view is as it was when that was decided.
-- KEYS: meta, keys to drop. ARGV: life, floor and done as they were; the new floor; whether it lies beyond the position (0/1);
-- how many fields to drop, the fields; what to set (names and values).
local meta = redis.call('HMGET', KEYS[1], 'life', 'floor', 'begun', 'done', 'position', 'segment', 'closed:' .. ARGV[4])
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] or meta[3] ~= meta[4] then return 'STALE' end
if ARGV[5] == '1' then
  if meta[4] ~= ARGV[3] then return 'STALE' end
else
  local position, floor = meta[5], ARGV[4] -- compared as text: numbers of Lua are exact to 2^53 only
  local above = #position > #floor or (#position == #floor and position >= floor)
  if not above or not (meta[7] or meta[6] == floor) then return 'STALE' end
end
redis.call('HINCRBY', KEYS[1], 'begun', 1)
for at = 2, #KEYS, 7000 do redis.call('UNLINK', unpack(KEYS, at, math.min(at + 6999, #KEYS))) end
local last = 6 + tonumber(ARGV[6])
for at = 7, last, 7000 do redis.call('HDEL', KEYS[1], unpack(ARGV, at, math.min(at + 6999, last))) end
redis.call('HSET', KEYS[1], 'floor', ARGV[4], unpack(ARGV, last + 1, #ARGV))
redis.call('HINCRBY', KEYS[1], 'done', 1)
return 'DONE'
