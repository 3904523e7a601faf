--- Progress on a terminal: one line on standard error that is drawn again and again, and erased at the end.
--
-- Nothing is drawn into a pipe or a file, with `--quiet` or `--json`, or where TERM is "dumb": such a
-- terminal cannot go back to the beginning of a line. The line is erased with blanks, not with an escape
-- sequence, because every other terminal can do that.

local core = require "autopilot.core"
local text = require "autopilot.cli.text"

local progress = {}

-- Columns of a terminal that does not tell its width.
local usual_width = 80

-- Seconds between two drawings at least; and between two while a command sleeps.
local shortest_interval, while_asleep = 0.1, 1

-- A fleet's bar: the narrowest terminal that has one, and the longest bar, in columns.
local narrowest, longest_bar = 45, 30

---@class autopilot.cli.Progress
---@field is_watched boolean
---@field package context autopilot.cli.Context
---@field package line fun(width: integer): string? what is to be shown, in so many columns at most
---@field package shown integer columns of the line that is on the terminal
---@field package drawn_at number? of the clock
local Progress = {}
Progress.__index = Progress

local function is_watched(context, options)
  local is_terminal = context.is_terminal
  if is_terminal == nil then
    is_terminal = core.terminal_width() ~= nil
  end
  return is_terminal and not options.json and not options.quiet and context.getenv "TERM" ~= "dumb"
end

local function width_of(context)
  local width = context.terminal_width or core.terminal_width()
  width = width ~= 0 and width or tonumber((context.getenv "COLUMNS" or ""):match "^%d+$") or usual_width
  return math.max(0, width - 1) -- many terminals begin a new line behind the last column
end

--- A line of progress, which is drawn by `draw` and erased at the end of the command at the latest.
---@param context autopilot.cli.Context
---@param options { json: boolean?, quiet: boolean? }
---@param line fun(width: integer): string?
---@return autopilot.cli.Progress
function progress.start(context, options, line)
  local self = setmetatable({
    context = context,
    is_watched = is_watched(context, options),
    line = line,
    shown = 0,
  }, Progress)
  table.insert(context.at_end, function()
    self:erase()
  end)
  return self
end

--- Erases the line.
function Progress:erase()
  if self.shown > 0 then
    self.context.stderr:write("\r", (" "):rep(self.shown), "\r")
    self.context.stderr:flush()
    self.shown = 0
  end
end

--- Draws the line, unless that was done less than a tenth of a second ago.
function Progress:draw()
  local clock = self.context.clock()
  if not self.is_watched or (self.drawn_at and clock - self.drawn_at < shortest_interval) then
    return
  end
  local line = self.line(width_of(self.context))
  if line then
    self.drawn_at = clock
    self.context.stderr:write("\r", line, (" "):rep(self.shown - #line)) -- over the line before
    self.context.stderr:flush()
    self.shown = #line
  end
end

--- Prints something else in the place of the line.
---@param print fun()
function Progress:interrupt(print)
  self:erase()
  print()
  self.drawn_at = nil
end

--- What the line says while a command waits for a sync.
---@param told autopilot.Progress as the client told it
---@param passed number seconds since then
---@param width integer columns
---@return string
function progress.waiting_line(told, passed, width)
  local state = told.sync_status or "waiting for the status"
  if told.state == "cooldown" then
    local left = math.max(0, math.ceil(told.remaining - passed))
    state = ("cooldown: %s left"):format(text.duration(left))
  end
  local whole = ("%s (%s so far)"):format(state, text.duration(told.elapsed + passed))
  return #whole <= width and whole or state:sub(1, width)
end

---@class autopilot.cli.WaitingProgress what a client that waits is given; the first two are nil where nothing is drawn
---@field on_progress (fun(told: autopilot.Progress))?
---@field sleep (fun(seconds: number))? sleeps, and draws the line again each second
---@field erase fun()

--- Shows the progress of a client that waits for a sync.
---@param context autopilot.cli.Context
---@param options { json: boolean?, quiet: boolean? }
---@return autopilot.cli.WaitingProgress
function progress.of_waiting(context, options)
  local told, told_at
  local clock = context.clock
  local self = progress.start(context, options, function(width)
    return told and progress.waiting_line(told, clock() - told_at, width)
  end)
  local function erase()
    self:erase()
  end
  if not self.is_watched then
    return { erase = erase }
  end
  return {
    erase = erase,
    on_progress = function(news)
      told, told_at = news, clock()
      self.drawn_at = nil
      self:draw()
    end,
    sleep = function(seconds)
      local ends = clock() + seconds
      while seconds > 0 do
        local slice = math.min(seconds, while_asleep)
        context.sleep(slice)
        seconds = math.min(seconds - slice, ends - clock())
        self:draw()
      end
    end,
  }
end

---@class autopilot.cli.FleetFacts
---@field done integer tenants with a report
---@field failed integer
---@field in_flight integer
---@field asleep integer
---@field total integer? nil: not known yet
---@field is_exact boolean? whether the total is no estimate
---@field elapsed number seconds
---@field recalled integer? of those done, how many were known from an earlier run

local function bar(part, columns)
  local full = math.floor(part * columns + 0.5)
  return "[" .. ("#"):rep(full) .. ("-"):rep(columns - full) .. "]"
end

--- Tenants a second, and how many seconds the rest takes at that pace; nil when too little is known.
local function pace(facts)
  local asked = facts.done - (facts.recalled or 0)
  if facts.elapsed < 1 or asked < 1 then
    return nil
  end
  local rate = asked / facts.elapsed
  local left = facts.total and math.max(0, facts.total - facts.done) / rate
  return rate, left
end

--- What follows the count, the most important first.
local function remarks(facts)
  local rate, left = pace(facts)
  local parts = { text.count(facts.failed) .. " failed" }
  parts[#parts + 1] = left and text.duration(left) .. " left" or nil
  parts[#parts + 1] = text.count(facts.in_flight) .. " in flight"
  parts[#parts + 1] = rate and (rate < 10 and "%.1f/s" or "%.0f/s"):format(rate) or nil
  parts[#parts + 1] = facts.asleep > 0 and text.count(facts.asleep) .. " waiting" or nil
  return parts
end

--- What the line says while a fleet runs.
---@param facts autopilot.cli.FleetFacts
---@param width integer columns
---@return string
function progress.fleet_line(facts, width)
  local line = text.count(facts.done)
  if facts.total then
    line = ("%s/%s%s"):format(line, facts.is_exact and "" or "~", text.count(facts.total))
  end
  if facts.total and facts.total > 0 and width >= narrowest then
    -- Its length depends on the terminal only, so that it does not jump.
    local columns = math.min(longest_bar, math.floor(width / 4))
    line = bar(math.min(1, facts.done / facts.total), columns) .. " " .. line
  end
  for _, part in ipairs(remarks(facts)) do
    if #line + 2 + #part > width then
      break
    end
    line = line .. ", " .. part
  end
  return line:sub(1, math.max(0, width))
end

return progress
