--- What one run of the command works with: streams, environment and clocks, the secrets that it has read, and
-- what is to be done at its end.

local Output = require "autopilot.cli.output"
local core = require "autopilot.core"
local merged = require "autopilot.base.merged"
local redact = require "autopilot.base.redact"
local variables = require("autopilot.cli.options").variables

---@class autopilot.cli.Context
---@field getenv fun(name: string): string?
---@field output autopilot.cli.Output
---@field is_terminal boolean whether standard error is a terminal that can draw a line again
---@field transport function? option of the client, as are the next four
---@field sleep fun(seconds: number)
---@field clock fun(): number
---@field now fun(): number
---@field random (fun(): number)?
---@field was_interrupted fun(): boolean, boolean whether a signal came, and whether it was SIGTERM
---@field secrets table<string, string> what must not be printed; key and value are the same
---@field at_end fun()[] called when the command has ended, also after an error
---@field is_verbose boolean? whether `--verbose` was given
---@field has_several boolean? whether the command is for several tenants
---@field noted_at number? when the first line was noted, on the clock
---@field complained_of table<string, true> events of which the user was told
---@field if_interrupted string? what the message of an interrupt adds: what became of the request for a sync
local Context = {}
Context.__index = Context

--- The context of the system; `world` replaces parts of it in tests.
---@return autopilot.cli.Context
function Context.new(world)
  local self = {
    getenv = os.getenv,
    stdin = io.stdin,
    stdout = io.stdout,
    stderr = io.stderr,
    sleep = core.sleep,
    clock = core.clock,
    now = core.now,
    was_interrupted = core.was_interrupted,
    is_terminal = core.terminal_width() ~= nil,
    secrets = {},
    complained_of = {},
    at_end = {},
  }
  self = setmetatable(merged(self, world), Context)
  self.is_terminal = self.is_terminal and self.getenv "TERM" ~= "dumb"
  -- A Windows console would show escape codes as text by default.
  local is_windows = package.config:sub(1, 1) == "\\"
  local has_colour = self.is_terminal and not is_windows and not self:variable "NO_COLOR"
  self.output = Output.new(self.stdout, self.stderr, has_colour)
  return self
end

--- The value of an environment variable, without line ends behind it; nil where it is not set or empty.
function Context:variable(name)
  return (self.getenv(name) or ""):match "^.*[^\r\n]"
end

--- The value of an option of the command, else of its variable; and which of the two gave it. Without a value: nil,
-- and both, as in `--x or X`.
---@param given table<string, any> options of the command
function Context:find(given, name)
  local option = "--" .. name:gsub("_", "-")
  if given[name] then
    return given[name], option
  end
  local variable = variables[option]
  local value = variable and self:variable(variable)
  return value, value and variable or table.concat({ option, variable }, " or ")
end

--- Keeps a secret, if given, out of all later output.
function Context:hide(secret)
  if secret then
    self.secrets[secret] = secret -- many tenants may share one
  end
end

--- With `--verbose`, prints a line on standard error, with the seconds since the first.
function Context:note(line)
  local clock = self.clock()
  self.noted_at = self.noted_at or clock
  local safe = redact.text(line, self.secrets)
  self.output:warn(("%8.3f %s"):format(clock - self.noted_at, safe), "grey")
end

--- The text of standard input, which can be read only once but may be needed for several tenants; `most` bytes, the
-- same in every call.
function Context:read_input(most)
  self.input = self.input or self.stdin:read(most) or ""
  return self.input
end

--- Makes SIGTERM end the command as Ctrl-C does, with an error that `main` reports.
function Context:report_termination()
  core.pass_on_termination()
  table.insert(self.at_end, core.release_interrupt)
end

return Context
