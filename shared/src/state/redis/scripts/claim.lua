#!lua flags=allow-oom
-- Answers with whether a view is whole; else removes what is left of it and starts at a boundary.
-- KEYS: state, closed segments. ARGV: boundary, progress, life, the closed segments' entries as they were, '' if there were none.
local f = redis.pcall('HMGET', KEYS[1], 'position', 'floor', 'progress', 'life', 'segment', 'closed', 'based', 'last', 'base_bytes', 'opened')
local there = f.err or redis.call('HLEN', KEYS[1]) > 0
local whole = not f.err
for i = 1, 10 do whole = whole and f[i] end
if not f.err and (f[6] or '') ~= ARGV[4] then return { 'STALE' } end
if whole then
  local k = 1
  for bytes in string.gmatch(f[6], '%d+ %d+ %d+ (%d+) [^\n]*\n') do
    k = k + 1
    local length = redis.pcall('STRLEN', KEYS[k])
    if type(length) ~= 'number' or length ~= tonumber(bytes) then whole = false end
  end
  if redis.call('HSTRLEN', KEYS[1], 'base') ~= tonumber(f[9]) then whole = false end
end
if whole then return { 'HELD' } end
for at = 1, #KEYS, 7000 do redis.call('UNLINK', unpack(KEYS, at, math.min(at + 6999, #KEYS))) end
redis.call('HSET', KEYS[1], 'position', ARGV[1], 'floor', ARGV[1], 'segment', ARGV[1], 'progress', ARGV[2], 'life', ARGV[3],
  'closed', '', 'base', '', 'base_bytes', '0', 'based', '0', 'last', '0', 'opened', '0')
return { there and 'LOST' or 'NONE' }
