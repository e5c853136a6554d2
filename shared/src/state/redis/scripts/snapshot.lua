#!lua flags=no-writes
-- The views of one partition at one moment. ARGV: views, then of each: the open segment as far as known, its known panes
-- (name, nonce of the rows at hand or ''), whether all closed segments are named (0/1), closed segments (starts). KEYS: meta, panes, closed segments of each view.
-- Answers for each view: NONE, LOST, STALE (segment, -, -, panes, closed), or HELD (position, floor, progress, panes, closed), where
-- a pane is (name, entry, its rows or nothing if they are at hand) and a closed segment is (start, entry).
local k, a = 0, 0
local function key() k = k + 1; return KEYS[k] end
local function arg() a = a + 1; return ARGV[a] end

local function look(meta, segment, panes, nonces, closed, all)
  local found = redis.pcall('HGETALL', meta)
  if found.err then return { 'LOST' } end
  if #found == 0 then return { 'NONE' } end
  local plain, held_panes, held_closed = {}, {}, {}
  for i = 1, #found, 2 do
    local kind, name = string.match(found[i], '^(%l+):(.*)')
    if kind == 'pane' then
      held_panes[#held_panes + 1] = { name, found[i + 1], false }
    elseif kind == 'closed' then
      held_closed[#held_closed + 1] = { name, found[i + 1] }
    else
      plain[found[i]] = found[i + 1]
    end
  end
  if not plain.position or plain.begun ~= plain.done then return { 'LOST' } end
  if plain.segment ~= segment then panes = {} end
  local stale = false
  for _, pane in ipairs(held_panes) do
    local at = panes[pane[1]]
    if at then
      local rows, nonce = string.match(pane[2], '^(%d+) (.*)')
      local length = redis.pcall('HLEN', at)
      if type(length) ~= 'number' or length ~= tonumber(rows) then return { 'LOST' } end
      if nonces[pane[1]] ~= nonce then pane[3] = at end
    else
      stale = true
    end
  end
  for _, segment in ipairs(held_closed) do
    local at = closed[segment[1]]
    if at then
      local bytes = redis.pcall('STRLEN', at)
      if type(bytes) ~= 'number' or bytes ~= tonumber(string.match(segment[2], '^%d+ %d+ (%d+)')) then return { 'LOST' } end
    elseif all then
      stale = true
    end
  end
  if stale then
    for _, pane in ipairs(held_panes) do pane[3] = false end
    return { 'STALE', plain.segment, '', '', held_panes, held_closed }
  end
  for _, pane in ipairs(held_panes) do
    if pane[3] then pane[3] = redis.call('HGETALL', pane[3]) end
  end
  return { 'HELD', plain.position, plain.floor, plain.progress, held_panes, held_closed }
end

local views = {}
for v = 1, tonumber(arg()) do
  local meta, segment, panes, nonces, closed = key(), arg(), {}, {}, {}
  for _ = 1, tonumber(arg()) do
    local name = arg()
    panes[name], nonces[name] = key(), arg()
  end
  local all = arg() == '1'
  for _ = 1, tonumber(arg()) do closed[arg()] = key() end
  views[v] = look(meta, segment, panes, nonces, closed, all)
end
return views
