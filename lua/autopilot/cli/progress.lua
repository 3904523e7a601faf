--- Progress on a terminal: one line on standard error, drawn again and again, and gone at the end.
--
-- Nothing is printed where nobody watches: into a pipe or a file, with `--quiet` or `--json`.

local time_text = require "autopilot.cli.time_text"

local progress = {}

local erase_line = "\r\27[K"

--- What one call of `on_progress` says, as a line.
---@param told autopilot.Progress
---@return string
function progress.line(told)
  local elapsed = time_text.duration(told.elapsed)
  if told.state == "cooldown" then
    return ("cooldown: %s left (%s so far)"):format(time_text.duration(told.remaining), elapsed)
  end
  return ("%s (%s so far)"):format(told.sync_status or "waiting for the status", elapsed)
end

--- Draws lines where somebody watches.
---@param context autopilot.cli.Context
---@param options { json: boolean?, quiet: boolean? }
---@return (fun(told: autopilot.Progress))? on_progress nil where nobody watches
---@return fun() finish leaves an empty line for what comes next
function progress.start(context, options)
  local is_terminal = context.is_terminal
  if is_terminal == nil then
    is_terminal = require("autopilot.core").is_terminal()
  end
  if not is_terminal or options.json or options.quiet then
    return nil, function() end
  end
  local stderr = context.stderr
  local function draw(text)
    stderr:write(erase_line, text)
    stderr:flush()
  end
  return function(told)
    draw(progress.line(told))
  end, function()
    draw ""
  end
end

return progress
