--- The command `autopilot-sync`: from arguments to an exit code.
--
-- The commands are in `cli/commands`; `cli/arguments` reads the command line. This file has what is the same for all
-- of them: `main` never ends the process itself, every end has an exit code, and an internal error is one line.

local Context = require "autopilot.cli.context"
local arguments = require "autopilot.cli.arguments"
local is_interrupt = require "autopilot.base.interrupt"
local redact = require "autopilot.base.redact"

local cli = {}

-- Exit codes that do not come from an outcome; those are in `autopilot.sync.outcome`. The last two are 128 and
-- the signal's number, as in a shell.
local failed, wrong_usage, interrupted, terminated = 1, 2, 130, 143

--- Prints the raised value: a text that was asked for, or one line that says, without a secret, why the command
-- failed. Returns the exit code.
local function print_raised(context, raised)
  local output, message = context.output, tostring(raised.value)
  local ours = type(raised.value) == "table" and raised.value or {}
  if ours.text then
    output:text(ours.text)
    return 0
  elseif ours.mistake then
    output:complain(redact.text(ours.mistake)) -- a token may be where a file's name belongs
    return wrong_usage
  end
  if is_interrupt(message) then
    local open = context.if_interrupted
    output:complain("interrupted" .. (open and ": " .. open or ""))
    local _, by_sigterm = context.was_interrupted()
    return by_sigterm and terminated or interrupted
  end
  output:complain("internal error: " .. redact.text(message:match "^[^\n]*", context.secrets))
  if context.getenv "AUTOPILOT_DEBUG" == "1" then
    context.stderr:write(redact.text(message .. raised.traceback, context.secrets), "\n")
  end
  return failed
end

--- Runs one command. Always returns, and raises nothing.
---@param args string[] as the interpreter's `arg`
---@param world table? what a test puts in the place of parts of the system
---@return integer exit_code
function cli.main(args, world)
  local context = Context.new(world)
  local done, result = xpcall(function()
    local command, options = arguments.parse(args)
    context.is_verbose, context.parser = options.verbose, arguments.parser
    if command.run then
      return command.run(options, context)
    end
    return require("autopilot.cli.client").run(command, options, context)
  end, function(value)
    return { value = value, traceback = debug.traceback("", 2) }
  end)
  for _, clean_up in ipairs(context.at_end) do
    pcall(clean_up)
  end
  local code = done and result or print_raised(context, result)
  local lost = context.output:close()
  if lost then
    context.output:complain("the output could not be written: " .. lost)
  end
  return lost and code == 0 and failed or code
end

return cli
