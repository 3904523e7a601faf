--- Progress on a terminal: one line on standard error that is drawn again and again.
--
-- Nothing is drawn into a pipe or a file, with `--quiet` or `--json`, or where TERM is "dumb": such a
-- terminal cannot go back to the beginning of a line.

local core = require "autopilot.core"
local text = require "autopilot.cli.text"

local progress = {}

-- Columns: of a terminal whose width is unknown; of the narrowest with a bar; of the longest bar.
local usual_width, narrowest, longest_bar = 80, 45, 30

-- Seconds between two drawings at least; and between two while a command sleeps.
local shortest_interval, while_asleep = 0.1, 1

--- Makes a function that draws `line(width)`, in at most so many columns; nil if nothing is to be drawn. It
-- draws at once with `is_news`, else ten times in a second at most.
function progress.drawer(context, options, line)
  if not context.is_terminal or options.json or options.quiet then
    return nil
  end
  local output, drawn_at = context.output, -math.huge
  return function(is_news)
    local clock = context.clock()
    local is_due = is_news or output.shown == 0 or clock - drawn_at >= shortest_interval
    local width = context.terminal_width or core.terminal_width()
    local columns = tonumber((context.getenv "COLUMNS" or ""):match "^[1-9]%d*$")
    width = width ~= 0 and width or columns or usual_width
    -- Many terminals begin a new line behind the last column.
    local shown = is_due and line(math.max(0, width - 1))
    if shown then
      drawn_at = clock
      output:draw(shown)
    end
  end
end

--- The line while a command waits for a sync, `passed` seconds after the client reported `latest`.
local function waiting_line(latest, passed, width)
  local state = latest.sync_status or "waiting for the status"
  if latest.stuck_for then
    state = state .. ", perhaps stuck"
  elseif latest.state == "cooldown" then
    local left = math.max(0, math.ceil(latest.remaining - passed))
    state = ("cooldown: %s left"):format(text.duration(left))
  end
  local whole = ("%s (%s so far)"):format(state, text.duration(latest.elapsed + passed))
  return #whole <= width and whole or state:sub(1, width)
end

--- Shows the progress of a client that waits for a sync: its `sleep` draws the line again each second.
---@return { on_progress: fun(latest: autopilot.Progress)?, sleep: fun(seconds: number)? } for the client; empty where nothing is drawn
function progress.of_waiting(context, options)
  local clock, shown = context.clock, {}
  if context.is_verbose then -- lines of their own instead, one for each wait
    local ends = -math.huge
    function shown.on_progress(news)
      local next_read = clock() + news.next_read
      if next_read > ends + 0.5 then
        local line = waiting_line(news, 0, math.huge)
        context:note(("* wait: %s, next read in %.3g s"):format(line, news.next_read))
      end
      ends = next_read
    end
    return shown
  end
  local latest, reported_at
  local draw = progress.drawer(context, options, function(width)
    return latest and waiting_line(latest, clock() - reported_at, width)
  end)
  if not draw then
    return shown
  end
  function shown.on_progress(news)
    latest, reported_at = news, clock()
    draw(true)
  end
  function shown.sleep(seconds)
    local ends = clock() + seconds
    while seconds > 0 do
      local slice = math.min(seconds, while_asleep)
      context.sleep(slice)
      seconds = math.min(seconds - slice, ends - clock())
      draw()
    end
  end
  return shown
end

--- The texts after the count, the most important first. Tenants that the state file knew do not count for the pace.
local function remarks(facts)
  local asked = facts.done - (facts.known or 0)
  local rate = facts.elapsed >= 1 and asked >= 1 and asked / facts.elapsed
  local elsewhere = facts.elsewhere or 0
  local left = rate and facts.total and math.max(0, facts.total - facts.done - elsewhere) / rate
  local parts = { text.count(facts.failed) .. " failed" }
  parts[#parts + 1] = elsewhere > 0 and text.count(elsewhere) .. " by other machines" or nil
  parts[#parts + 1] = left and text.duration(left) .. " left" or nil
  parts[#parts + 1] = text.count(facts.in_flight) .. " in flight"
  parts[#parts + 1] = rate and (rate < 10 and "%.1f/s" or "%.0f/s"):format(rate) or nil
  parts[#parts + 1] = facts.asleep > 0 and text.count(facts.asleep) .. " waiting" or nil
  return parts
end

--- The line while a fleet runs, in at most `width` columns.
---@param facts table a fleet's progress, with the seconds that have `elapsed`, and whether the total `is_exact`
function progress.fleet_line(facts, width)
  local line, total = text.count(facts.done), facts.total
  if total then
    line = line .. (facts.is_exact and "/" or "/~") .. text.count(total)
  end
  if total and total > 0 and width >= narrowest then
    -- Its length depends on the terminal only, so that the line does not move.
    local columns = math.min(longest_bar, math.floor(width / 4))
    local full = math.floor(math.min(1, facts.done / total) * columns + 0.5)
    line = ("[%s%s] %s"):format(("#"):rep(full), ("-"):rep(columns - full), line)
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
