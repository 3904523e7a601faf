--- The command as a process, for specs: what only a real run shows.

local emulated_service = require "support.emulated_service"
local files = require "support.files"
local shell = require "autopilot.cli.emulate.shell"

local command_process = {}

--- The Lua that runs it, quoted for a shell.
command_process.interpreter = shell.quote(emulated_service.interpreter())

--- The command line that runs the command, for a shell; arguments follow it.
command_process.program = command_process.interpreter .. " bin/autopilot-sync "

-- What the developer's own environment says must not count.
local forget = "unset AUTOPILOT_TOKEN AUTOPILOT_BASE_URL AUTOPILOT_CA_FILE AUTOPILOT_DEBUG "
  .. "AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET AZURE_CLIENT_CERTIFICATE_PATH "
  .. "AZURE_CLIENT_CERTIFICATE_PASSWORD AZURE_FEDERATED_TOKEN_FILE AZURE_AUTHORITY_HOST "
  .. "AZURE_POD_IDENTITY_AUTHORITY_HOST IDENTITY_ENDPOINT IDENTITY_HEADER IMDS_ENDPOINT "
  .. "IDENTITY_SERVER_THUMBPRINT MSI_ENDPOINT MSI_SECRET\n"

local function assignments(env)
  local lines = { forget }
  for name, value in pairs(env or {}) do
    lines[#lines + 1] = ("export %s=%s\n"):format(name, shell.quote(value))
  end
  return table.concat(lines)
end

--- Runs a script in which `program` runs the command, and gives a pipe with its standard output. Not by
-- `shell.read`, which would take the sanitizers' runtime away from the interpreter.
---@param script string
---@param env table<string, string>?
function command_process.start(script, env)
  local given = assignments(env)
    .. ("program() { %s"):format(command_process.program)
    .. '"$@"; }\n'
  return io.popen("exec sh -c " .. shell.quote(given .. script), "r")
end

--- Runs one command line.
---@param args string for a shell
---@param env table<string, string>?
---@return integer? code
---@return string output
---@return string complaint what was written to standard error
function command_process.run(args, env)
  local errors, remove = files.temporary ""
  local script = ("program %s 2>%s; echo $?"):format(args, shell.quote(errors))
  local pipe = command_process.start(script, env)
  local output, code = pipe:read("*a"):match "^(.-)(%d+)\n$"
  pipe:close()
  local complaint = files.read(errors)
  remove()
  return tonumber(code), output, complaint
end

return command_process
