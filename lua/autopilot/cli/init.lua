--- The command `autopilot-sync`: from arguments to an exit code.
--
-- What each command does is in `cli/commands`, how its arguments are read in `cli/arguments`. Here is
-- what holds for all of them: `main` never ends the process itself, every end has an exit code, and an
-- internal error is told in one line.

local Output = require "autopilot.cli.output"
local arguments = require "autopilot.cli.arguments"
local redact = require "autopilot.base.redact"

local cli = {}

-- The exit codes that are not an outcome's; those are in `autopilot.sync.outcome`.
local failed, wrong_usage, interrupted = 1, 2, 130

local bad_descriptor = 9 -- EBADF, the same number everywhere

--- What the command uses of its surroundings. Absent fields are those of the system.
---@class autopilot.cli.World
---@field getenv (fun(name: string): string?)?
---@field stdin file*?
---@field stdout file*?
---@field stderr file*?
---@field transport function? of the client, as are the next four
---@field sleep fun(seconds: number)?
---@field clock (fun(): number)?
---@field now (fun(): number)?
---@field random (fun(): number)?

---@class autopilot.cli.Context: autopilot.cli.World what a command is run with; nothing is absent but the client's
---@field output autopilot.cli.Output
---@field secrets string[] what must not be printed; the code that reads a secret adds it
---@field at_end fun()[] what is done when the command has ended, in whatever way
---@field tenant_origin string? `--tenant` or the variable that the tenant was named by
---@field if_interrupted string? what an interrupt leaves open, for the person who caused it

-- What is kept open in the place of standard streams that are closed.
local placeholders = {}

--- Takes the descriptors 0 to 2 where they are closed: the next socket would get such a number, and what is
-- printed would be sent through it. They are opened for reading, so that writing fails as it did before.
local function occupy_closed_descriptors()
  for _, stream in ipairs { io.stdin, io.stdout, io.stderr } do
    local _, _, number = stream:seek "cur"
    if number == bad_descriptor then
      placeholders[#placeholders + 1] = io.open("/dev/null", "rb") -- gets the lowest free number
    end
  end
end

local function new_context(world)
  local context = {
    getenv = os.getenv,
    stdin = io.stdin,
    stdout = io.stdout,
    stderr = io.stderr,
    secrets = {},
    at_end = {},
  }
  for name, value in pairs(world or {}) do
    context[name] = value
  end
  context.output = Output.new(context.stdout, context.stderr)
  return context
end

local function run(args, context)
  local output = context.output
  local request, answer = arguments.parse(args)
  if not request then
    if answer.text then
      output:text(answer.text)
      return 0
    end
    output:complain(answer.mistake)
    return wrong_usage
  end
  local code, mistake = request.command.run(request.options, context)
  if code then
    return code
  end
  output:complain(mistake)
  return wrong_usage
end

--- Tells what was raised, and nothing secret, in one line.
local function tell_failure(context, raised)
  local message = tostring(raised.value)
  -- The standalone interpreters turn SIGINT into this error.
  if message:find "interrupted!$" then
    local open = context.if_interrupted
    context.output:complain("interrupted" .. (open and ": " .. open or ""))
    return interrupted
  end
  local function safe(text)
    return redact.text(text, context.secrets)
  end
  context.output:complain("internal error: " .. safe(message:match "^[^\n]*"))
  if context.getenv "AUTOPILOT_DEBUG" == "1" then
    context.output:debug(safe(message .. raised.traceback))
  end
  return failed
end

--- Runs one command. Returns in every case, and raises nothing.
---@param args string[] as the interpreter's `arg`
---@param world autopilot.cli.World?
---@return integer exit_code
function cli.main(args, world)
  occupy_closed_descriptors()
  local context = new_context(world)
  local done, result = xpcall(function()
    return run(args, context)
  end, function(value)
    return { value = value, traceback = debug.traceback("", 2) }
  end)
  for _, clean_up in ipairs(context.at_end) do
    pcall(clean_up)
  end
  local code = done and result or tell_failure(context, result)
  local lost = context.output:close()
  if lost then
    context.output:complain("the output could not be written: " .. lost)
  end
  return lost and code == 0 and failed or code
end

return cli
