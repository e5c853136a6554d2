#!lua
-- Applies the commits of several views of one partition, all or nothing. What is wrong is found before the first write.
-- ARGV: views; a head each; a body each. KEYS: in the order in which heads and bodies name them.
-- head: from, start of the open segment, closes (0/1), watched panes (names), watched closed segments (starts)
-- body: position, progress, segment, nonce, closed segments (start, entry, value), panes (name, pairs, field, value, ...)
local k, a = 0, 0
local function key() k = k + 1; return KEYS[k] end
local function arg() a = a + 1; return ARGV[a] end
local function hset(name, from, to) -- unpack takes fewer than 8,000 values
  for at = from, to, 7000 do redis.call('HSET', name, unpack(ARGV, at, math.min(at + 6999, to))) end
end
local function is_whole(pane, entry)
  local rows = redis.pcall('HLEN', pane)
  return type(rows) == 'number' and rows == tonumber(string.match(entry, '^%d+'))
end

local views, missing, moved, gap, stale = {}, false, false, false, {}
for v = 1, tonumber(arg()) do
  local view = { meta = key(), from = arg(), start = arg(), closes = arg() == '1', panes = {} }
  local meta = redis.pcall('HMGET', view.meta, 'position', 'segment', 'begun', 'done')
  local whole = not meta.err and meta[1] and meta[3] == meta[4]
  local held = {}
  if whole and view.closes then
    local all = redis.call('HGETALL', view.meta)
    for i = 1, #all, 2 do held[all[i]] = all[i + 1] end
  end
  for _ = 1, tonumber(arg()) do
    local name, at = 'pane:' .. arg(), key()
    if view.closes then -- its rows are replaced: what was lost of them does not matter
      if held[name] then view.panes[name] = at end
    else
      local entry = whole and meta[2] == view.start and redis.call('HGET', view.meta, name)
      if entry and not is_whole(at, entry) then whole = false end
    end
  end
  for _ = 1, tonumber(arg()) do
    local name, at = 'closed:' .. arg(), key()
    local entry = whole and redis.call('HGET', view.meta, name)
    if entry then
      local bytes = redis.pcall('STRLEN', at)
      if type(bytes) ~= 'number' or bytes ~= tonumber(string.match(entry, '^%d+ %d+ (%d+)')) then whole = false end
    end
  end
  if not whole then
    missing = true
  elseif meta[1] ~= view.from then
    moved = true
  elseif tonumber(view.start) < tonumber(meta[2]) then
    moved = true -- a trim to the very position has ended the segment that the commit goes on with
  elseif meta[2] ~= view.start then
    gap = true
  elseif view.closes then
    for name in pairs(held) do
      local pane = string.match(name, '^pane:(.*)')
      if pane and not view.panes[name] then stale[#stale + 1] = { v, pane } end
    end
  end
  views[v] = view
end
if missing then return { 'MISSING' } end
if moved then return { 'MOVED' } end
if gap then return { 'GAP' } end
if #stale > 0 then return { 'STALE', stale } end

for _, view in ipairs(views) do
  redis.call('HINCRBY', view.meta, 'begun', 1)
  if view.closes then
    for name, at in pairs(view.panes) do
      redis.call('UNLINK', at)
      redis.call('HDEL', view.meta, name)
    end
  end
  local position, progress, segment, nonce = arg(), arg(), arg(), arg()
  for _ = 1, tonumber(arg()) do
    local start, entry = arg(), arg()
    redis.call('HSET', view.meta, 'closed:' .. start, entry)
    redis.call('SET', key(), arg())
  end
  local meta = { 'position', position, 'progress', progress, 'segment', segment }
  for _ = 1, tonumber(arg()) do
    local name, at, values = 'pane:' .. arg(), key(), 2 * tonumber(arg())
    if view.closes or not redis.call('HGET', view.meta, name) then
      redis.call('HSET', view.meta, name, '0 ' .. nonce) -- known before it exists, so that a claim can always find it
      redis.call('UNLINK', at)
    end
    hset(at, a + 1, a + values)
    a = a + values
    meta[#meta + 1] = name
    meta[#meta + 1] = redis.call('HLEN', at) .. ' ' .. nonce
  end
  for at = 1, #meta, 7000 do redis.call('HSET', view.meta, unpack(meta, at, math.min(at + 6999, #meta))) end
  redis.call('HINCRBY', view.meta, 'done', 1)
end
return { 'APPLIED' }
