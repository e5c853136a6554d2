#!lua
-- Applies the commits of several views of one partition, all or nothing. What is wrong is found before the first write; of each view
-- everything that counts is written by one command, the last one.
-- ARGV: views; a head each; a body each. KEYS: in the order in which heads and bodies name them.
-- head: from, start of the open segment, whether there is a base or none is needed (0/1), watched closed segments (starts)
-- body: position, progress, segment, closed segments (entry, value), whether a segment closes (0/1), delta or '', base or ''
local KEPT = 64
local k, a = 0, 0
local function key() k = k + 1; return KEYS[k] end
local function arg() a = a + 1; return ARGV[a] end
local function number(n) return string.format('%d', n) end

local views, missing, moved, gap, full = {}, false, false, false, false
for v = 1, tonumber(arg()) do
  local view = { key = key() }
  local from, start, is_based = arg(), arg(), arg() == '1'
  local f = redis.pcall('HMGET', view.key, 'position', 'segment', 'based', 'last', 'closed', 'base_bytes', 'opened', 'floor', 'life')
  local whole = not f.err
  for i = 1, 9 do whole = whole and f[i] end
  if whole then
    view.based, view.last, view.closed = tonumber(f[3]), tonumber(f[4]), f[5]
    view.opened = tonumber(f[7])
    if redis.call('HSTRLEN', view.key, 'base') ~= tonumber(f[6]) then whole = false end
    for n = view.based + 1, view.last do
      if redis.call('HSTRLEN', view.key, 'd' .. n % KEPT) == 0 then whole = false end
    end
  end
  local watched = tonumber(arg())
  local lines = whole and watched > 0 and '\n' .. view.closed
  for _ = 1, watched do
    local start, at = arg(), key()
    local bytes = lines and string.match(lines, '\n' .. start .. ' %d+ %d+ (%d+) ')
    if bytes then
      local length = redis.pcall('STRLEN', at)
      if type(length) ~= 'number' or length ~= tonumber(bytes) then whole = false end
    end
  end
  if not whole then
    missing = true
  elseif f[1] ~= from then
    moved = true
  elseif tonumber(start) < tonumber(f[2]) then
    moved = true -- a trim to the very position has ended the segment that the commit goes on with
  elseif f[2] ~= start then
    gap = true
  elseif not is_based and view.last + 1 - view.based >= KEPT then
    full = true
  end
  views[v] = view
end
if missing then return { 'MISSING' } end
if moved then return { 'MOVED' } end
if gap then return { 'GAP' } end
if full then return { 'FULL' } end

for _, view in ipairs(views) do
  local position, progress, segment, count = arg(), arg(), arg(), tonumber(arg())
  local set = { 'position', position, 'progress', progress, 'segment', segment }
  local function add(name, value) set[#set + 1] = name; set[#set + 1] = value end
  for _ = 1, count do
    local entry, value = arg(), arg()
    view.closed = view.closed .. entry .. '\n'
    redis.call('SET', key(), value)
  end
  if count > 0 then add('closed', view.closed) end
  local closes, delta, base = arg() == '1', arg(), arg()
  if closes and view.opened < view.last then
    for n = math.max(view.opened + 1, view.last - KEPT + 1), view.last do add('d' .. n % KEPT, '') end
    add('base', '')
    add('base_bytes', '0')
    add('based', number(view.last))
    add('opened', number(view.last))
  end
  if delta ~= '' then
    view.last = view.last + 1
    add('d' .. view.last % KEPT, number(view.last) .. ' ' .. delta)
    add('last', number(view.last))
  end
  if base ~= '' then
    base = number(view.last) .. ' ' .. base
    add('base', base)
    add('base_bytes', number(#base))
    add('based', number(view.last))
  end
  redis.call('HSET', view.key, unpack(set))
end
return { 'APPLIED' }
