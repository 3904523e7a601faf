--- Progress on a terminal: one line on standard error, drawn again and again, and taken away at the end.
--
-- Nothing is drawn into a pipe or a file, with `--quiet` or `--json`, or where TERM is "dumb": such a
-- terminal cannot go back to the beginning of a line. The line is erased by blanks and not by an escape
-- sequence, so that every other terminal can show it.

local core = require "autopilot.core"
local time_text = require "autopilot.cli.time_text"

-- Columns of a terminal that does not tell its width.
local usual_width = 80

-- Seconds between two lines, at least; and between two lines while a command sleeps.
local shortest_interval, while_asleep = 0.1, 1

---@class autopilot.cli.Progress
---@field is_watched boolean
---@field package line fun(width: integer): string? what is to be shown, in so many columns at most
---@field package shown integer columns of the line that is on the terminal
---@field package drawn_at number? of the clock
local Progress = {}
Progress.__index = Progress

local progress = {}

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
  return math.max(0, width - 1) -- many terminals begin a new line behind the last column
end

---@param context autopilot.cli.Context
---@param options { json: boolean?, quiet: boolean? }
---@param line fun(width: integer): string?
---@return autopilot.cli.Progress
function progress.start(context, options, line)
  local self = setmetatable({
    context = context,
    stderr = context.stderr,
    clock = context.clock or core.clock,
    is_watched = is_watched(context, options),
    line = line,
    shown = 0,
  }, Progress)
  table.insert(context.at_end, function()
    self:erase() -- also when the command was interrupted
  end)
  return self
end

--- Takes the line away.
function Progress:erase()
  if self.shown > 0 then
    self.stderr:write("\r", (" "):rep(self.shown), "\r")
    self.stderr:flush()
    self.shown = 0
  end
end

--- Draws the line again, unless that was done a moment ago.
function Progress:draw()
  local clock = self.clock()
  if not self.is_watched or (self.drawn_at and clock - self.drawn_at < shortest_interval) then
    return
  end
  local line = self.line(width_of(self.context))
  if line then
    self.drawn_at = clock
    self.stderr:write("\r", line, (" "):rep(self.shown - #line)) -- over what was there
    self.stderr:flush()
    self.shown = #line
  end
end

--- Prints something else where the line was.
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
  local text = told.sync_status or "waiting for the status"
  if told.state == "cooldown" then
    text = ("cooldown: %s left"):format(
      time_text.duration(math.max(0, math.ceil(told.remaining - passed)))
    )
  end
  local whole = ("%s (%s so far)"):format(text, time_text.duration(told.elapsed + passed))
  return #whole <= width and whole or text:sub(1, width)
end

---@class autopilot.cli.WaitingProgress what a client that waits is given; both are nil where nothing is drawn
---@field on_progress (fun(told: autopilot.Progress))?
---@field sleep (fun(seconds: number))? sleeps, and draws the line again each second
---@field erase fun()

--- Shows how far a client is that waits for a sync.
---@param context autopilot.cli.Context
---@param options { json: boolean?, quiet: boolean? }
---@return autopilot.cli.WaitingProgress
function progress.of_waiting(context, options)
  local told, told_at
  local clock, sleep = context.clock or core.clock, context.sleep or core.sleep
  local self = progress.start(context, options, function(width)
    return told and progress.waiting_line(told, clock() - told_at, width)
  end)
  if not self.is_watched then
    return { erase = function() end }
  end
  return {
    on_progress = function(news)
      told, told_at = news, clock()
      self.drawn_at = nil
      self:draw()
    end,
    sleep = function(seconds)
      local ends = clock() + seconds
      while seconds > 0 do
        local slice = math.min(seconds, while_asleep)
        sleep(slice)
        seconds = math.min(seconds - slice, ends - clock())
        self:draw()
      end
    end,
    erase = function()
      self:erase()
    end,
  }
end

return progress
