--- What one run of the command works with: streams, environment and clocks, the secrets that it has read, and
-- what is to be done at its end.

local Output = require "autopilot.cli.output"
local core = require "autopilot.core"

---@class autopilot.cli.World what replaces parts of the system, for tests; every field may be absent
---@field getenv (fun(name: string): string?)?
---@field stdin file*?
---@field stdout file*?
---@field stderr file*?
---@field transport function? of the client, as are the next four
---@field sleep fun(seconds: number)?
---@field clock (fun(): number)?
---@field now (fun(): number)?
---@field random (fun(): number)?
---@field was_interrupted (fun(): boolean, boolean)? whether a signal came, and whether it was SIGTERM

---@class autopilot.cli.Context: autopilot.cli.World nothing is absent but `transport` and `random`
---@field output autopilot.cli.Output
---@field secrets string[] what must not be printed, see `hide`
---@field at_end fun()[] called when the command has ended, also after an error
---@field tenant_origin string? the option or variable that named the tenant
---@field if_interrupted string? what an interrupt would leave open, in words for the user
---@field package is_secret table<string, boolean>
---@field package input string? what standard input held
local Context = {}
Context.__index = Context

--- The context of the system, with what a test has put in its place.
---@param world autopilot.cli.World?
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
    secrets = {},
    is_secret = {},
    at_end = {},
  }
  for name, value in pairs(world or {}) do
    self[name] = value
  end
  self.output = Output.new(self.stdout, self.stderr)
  return setmetatable(self, Context)
end

--- The value of an environment variable; nil where it is not set or empty.
---@param name string
---@return string?
function Context:variable(name)
  local value = self.getenv(name)
  return value ~= "" and value or nil
end

-- The variables that give the values of options.
local variables = {
  tenant = "AZURE_TENANT_ID",
  client_id = "AZURE_CLIENT_ID",
  certificate = "AZURE_CLIENT_CERTIFICATE_PATH",
  token_file = "AZURE_FEDERATED_TOKEN_FILE",
  base_url = "AUTOPILOT_BASE_URL",
  ca_file = "AUTOPILOT_CA_FILE",
}

--- The value of an option, else of its variable.
---@param given table<string, any> options of the command
---@param name string
---@return string? value
---@return string origin the option or the variable that gave it; without a value, both: `--x or X`
function Context:find(given, name)
  local option, variable = "--" .. name:gsub("_", "-"), variables[name]
  if given[name] then
    return given[name], option
  end
  local value = self:variable(variable)
  return value, value and variable or ("%s or %s"):format(option, variable)
end

--- Keeps a secret out of everything that is printed from now on.
---@param secret string? nil: nothing to hide
function Context:hide(secret)
  if secret and not self.is_secret[secret] then
    self.secrets[#self.secrets + 1] = secret
    self.is_secret[secret] = true -- many tenants may share one
  end
end

--- The text of standard input, which can be read only once but may be needed for several tenants.
---@param most integer bytes; the same in every call
---@return string
function Context:read_input(most)
  self.input = self.input or self.stdin:read(most) or ""
  return self.input
end

--- An observer for a client that may ask for a sync: an interrupt after its first request tells so.
---@return fun(event: table) on_event
function Context:request_observer()
  return function(event)
    if event.type == "attempt" then
      self.if_interrupted = "the request for a sync may have been sent"
    end
  end
end

--- Makes SIGTERM end the command as Ctrl-C does: with an error that `main` reports, and not without a word.
function Context:report_termination()
  core.pass_on_termination()
  table.insert(self.at_end, core.release_interrupt)
end

return Context
