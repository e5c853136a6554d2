#!lua flags=no-writes
-- The views of one partition at one moment. ARGV: views, then of each: life ('' for none), segment, position and floor of what is at hand,
-- closed segments to look after (starts). KEYS: state, those closed segments of each view.
-- Answers for each view: NONE, LOST, SAME, or HELD (position, floor, progress, life, closed, base or nothing if the rows at hand are to go on,
-- deltas to put on top). A delta begins with its number and the position that it starts from.
local KEPT = 64
local k, a = 0, 0
local function key() k = k + 1; return KEYS[k] end
local function arg() a = a + 1; return ARGV[a] end
-- compared as text: numbers of Lua are exact to 2^53 only
local function at_most(x, y) return #x < #y or (#x == #y and x <= y) end

local function look(state, life, segment, position, floor, closed)
  local f = redis.pcall('HMGET', state, 'position', 'floor', 'progress', 'life', 'closed', 'segment', 'based', 'last', 'opened')
  if f.err then return { 'LOST' } end
  if not f[1] then return { redis.call('HLEN', state) == 0 and 'NONE' or 'LOST' } end
  for i = 2, 9 do if not f[i] then return { 'LOST' } end end
  local lines = next(closed) and '\n' .. f[5]
  for start, at in pairs(closed) do
    local bytes = string.match(lines, '\n' .. start .. ' %d+ %d+ (%d+) ')
    if bytes then
      local length = redis.pcall('STRLEN', at)
      if type(length) ~= 'number' or length ~= tonumber(bytes) then return { 'LOST' } end
    end
  end
  local based, last, opened = tonumber(f[7]), tonumber(f[8]), tonumber(f[9])
  local held = { 'HELD', f[1], f[2], f[3], f[4], f[5], false, {} }
  if life == f[4] and segment == f[6] and at_most(position, f[1]) then
    if position == f[1] and floor == f[2] then return { 'SAME' } end
    if position == f[1] then return held end
    local deltas = {}
    for n = last, math.max(opened + 1, last - KEPT + 1), -1 do
      local delta = redis.call('HGET', state, 'd' .. n % KEPT)
      local from = delta and string.match(delta, '^%d+ (%d+) ')
      if not from then break end -- whether all rows are there is seen below
      table.insert(deltas, 1, delta)
      if at_most(from, position) then
        held[8] = deltas
        return held
      end
    end
  end
  held[7] = redis.call('HGET', state, 'base')
  if not held[7] then return { 'LOST' } end
  for n = based + 1, last do
    local delta = redis.call('HGET', state, 'd' .. n % KEPT)
    if not delta then return { 'LOST' } end
    held[8][#held[8] + 1] = delta
  end
  return held
end

local views = {}
for v = 1, tonumber(arg()) do
  local state, life, segment, position, floor, closed = key(), arg(), arg(), arg(), arg(), {}
  for _ = 1, tonumber(arg()) do closed[arg()] = key() end
  views[v] = look(state, life, segment, position, floor, closed)
end
return views
