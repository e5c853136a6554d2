#!lua flags=allow-oom
-- Answers with what is stored of a view if it is whole; else removes what is left of it and starts at a boundary.
-- KEYS: meta, known panes, known closed segments. ARGV: boundary, progress, nonce, the open segment as
-- far as known, panes (names), closed segments (starts).
local found = redis.pcall('HGETALL', KEYS[1])
local f, n = {}, 0
if not found.err then
  for i = 1, #found, 2 do f[found[i]], n = found[i + 1], n + 1 end
end
local k, a, known, whole = 1, 4, {}, f.position and f.begun == f.done
local function names(kind, missing)
  a = a + 1
  for _ = 1, tonumber(ARGV[a]) do
    k, a = k + 1, a + 1
    local entry = f[kind .. ARGV[a]]
    if kind ~= 'pane:' or f.segment == ARGV[4] then
      known[kind .. ARGV[a]] = true
      if entry and missing(KEYS[k], entry) then whole = false end
    end
  end
end
names('pane:', function(at, entry)
  local length = redis.pcall('HLEN', at)
  return type(length) ~= 'number' or length ~= tonumber(string.match(entry, '^%d+'))
end)
names('closed:', function(at, entry)
  local bytes = redis.pcall('STRLEN', at)
  return type(bytes) ~= 'number' or bytes ~= tonumber(string.match(entry, '^%d+ %d+ (%d+)'))
end)
local panes, closed, stale = {}, {}, false
for name in pairs(f) do
  local kind, rest = string.match(name, '^(%l+):(.*)')
  if kind then
    local list = kind == 'pane' and panes or closed
    list[#list + 1] = { rest, '', false }
    stale = stale or not known[name]
  end
end
if stale then return { 'STALE', f.segment or '0', '', '', panes, closed } end
if whole then return { 'HELD' } end
for at = 1, #KEYS, 7000 do redis.call('UNLINK', unpack(KEYS, at, math.min(at + 6999, #KEYS))) end
redis.call('HSET', KEYS[1], 'position', ARGV[1], 'floor', ARGV[1], 'segment', ARGV[1], 'progress', ARGV[2],
  'life', ARGV[3], 'begun', 0, 'done', 0)
return { (found.err or n > 0) and 'LOST' or 'NONE' }
