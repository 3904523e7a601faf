--- The progress of a fleet on a terminal: one line on standard error, drawn again and again.
--
-- Nothing is printed where nobody watches. The line is erased by blanks and not by an escape sequence,
-- so that every terminal can show it.

local core = require "autopilot.core"
local time_text = require "autopilot.cli.time_text"

local fleet_progress = {}

-- Columns of a terminal that does not tell, and of the narrowest with a bar; of the longest bar.
local usual_width, narrowest, longest_bar = 80, 45, 30

local interval = 0.1 -- seconds between two lines

---@class autopilot.cli.FleetFacts
---@field done integer
---@field failed integer
---@field in_flight integer
---@field asleep integer
---@field total integer? nil: not known yet
---@field is_exact boolean? the total is not an estimate
---@field elapsed number seconds
---@field recalled integer? of those done, how many without asking the service

--- 12345 as `12,345`.
---@param count integer
---@return string
function fleet_progress.grouped(count)
  local digits = ("%d"):format(count)
  return (digits:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
end

local function bar(part, columns)
  local full = math.floor(part * columns + 0.5)
  return "[" .. ("#"):rep(full) .. ("-"):rep(columns - full) .. "]"
end

--- How fast it goes, and how long the rest takes at that pace; nil when too little is known.
local function pace(facts)
  local asked = facts.done - (facts.recalled or 0)
  if facts.elapsed < 1 or asked < 1 then
    return nil
  end
  local rate = asked / facts.elapsed
  local left = facts.total and math.max(0, facts.total - facts.done) / rate
  return rate, left
end

--- What there is to say behind the count, from the most important on.
local function remarks(facts)
  local grouped = fleet_progress.grouped
  local rate, left = pace(facts)
  local parts = { grouped(facts.failed) .. " failed" }
  parts[#parts + 1] = left and time_text.duration(left) .. " left" or nil
  parts[#parts + 1] = grouped(facts.in_flight) .. " in flight"
  parts[#parts + 1] = rate and (rate < 10 and "%.1f/s" or "%.0f/s"):format(rate) or nil
  parts[#parts + 1] = facts.asleep > 0 and grouped(facts.asleep) .. " waiting" or nil
  return parts
end

--- The line for these facts, in so many columns at most.
---@param facts autopilot.cli.FleetFacts
---@param width integer columns
---@return string
function fleet_progress.line(facts, width)
  local grouped = fleet_progress.grouped
  local count = grouped(facts.done)
  if facts.total then
    count = ("%s/%s%s"):format(count, facts.is_exact and "" or "~", grouped(facts.total))
  end
  local text = count
  if facts.total and facts.total > 0 and width >= narrowest then
    -- As long as the terminal says, so that it keeps its place.
    local columns = math.min(longest_bar, math.floor(width / 4))
    text = bar(math.min(1, facts.done / facts.total), columns) .. " " .. count
  end
  for _, part in ipairs(remarks(facts)) do
    if #text + 2 + #part > width then
      break
    end
    text = text .. ", " .. part
  end
  return text:sub(1, math.max(0, width))
end

---@class autopilot.cli.FleetProgress
local FleetProgress = {}
FleetProgress.__index = FleetProgress

local function is_watched(context, options)
  local is_terminal = context.is_terminal
  if is_terminal == nil then
    is_terminal = core.is_terminal()
  end
  return is_terminal and not options.json and not options.quiet and context.getenv "TERM" ~= "dumb"
end

local function width_of(context)
  local width = context.terminal_width or core.terminal_width()
  width = width or tonumber((context.getenv "COLUMNS" or ""):match "^%d+$") or usual_width
  return width - 1 -- many terminals begin a new line behind the last column
end

--- Takes the line away.
function FleetProgress:erase()
  if self.shown > 0 then
    self.stderr:write("\r", (" "):rep(self.shown), "\r")
    self.stderr:flush()
    self.shown = 0
  end
end

--- Draws the line again, when that is worth it.
function FleetProgress:draw()
  local clock = self.clock()
  if not self.is_watched or (self.drawn_at and clock - self.drawn_at < interval) then
    return
  end
  self.drawn_at = clock
  local line = fleet_progress.line(self.facts(), width_of(self.context))
  self.stderr:write("\r", line, (" "):rep(self.shown - #line)) -- over what was there
  self.stderr:flush()
  self.shown = #line
end

--- Prints something else where the line was.
---@param print fun()
function FleetProgress:interrupt(print)
  self:erase()
  print()
  self.drawn_at = nil
end

---@param context autopilot.cli.Context
---@param options { json: boolean?, quiet: boolean? }
---@param facts fun(): autopilot.cli.FleetFacts
---@return autopilot.cli.FleetProgress
function fleet_progress.start(context, options, facts)
  return setmetatable({
    context = context,
    stderr = context.stderr,
    clock = context.clock or core.clock,
    is_watched = is_watched(context, options),
    facts = facts,
    shown = 0, -- columns
  }, FleetProgress)
end

return fleet_progress
