--- The emulated service over real sockets, for specs: started once, reached over TLS, always ended.
--
-- It runs in nginx's own LuaJIT, whichever Lua the spec runs on, and ends with the spec's process even
-- when it is not stopped.

local cjson = require "cjson.safe"
local emulate = require "autopilot.cli.emulate"
local overlay = require "support.overlay"
local shell = require "autopilot.cli.emulate.shell"

local emulated_service = {}

--- The command lines of all processes that have a text in them.
---@param text string
---@return string
function emulated_service.processes_with(text)
  -- In two pieces, so that the search does not find itself.
  local first, rest = text:match "^.-(%w)([^/]*)$"
  return shell.read('ps -A -o args= | grep "[$1]$2"', first, rest)
end

---@param path string
---@return boolean
function emulated_service.exists(path)
  return shell.read('[ -e "$1" ] && echo yes', path) ~= ""
end

--- The Lua that runs this spec: the first word of its command line.
---@return string
function emulated_service.interpreter()
  local index = -1
  while arg and arg[index - 1] do
    index = index - 1
  end
  return arg and arg[index] or "lua"
end

--- Where a process without the sanitizers finds the C module: as it is built without them.
---@return string path for LUA_CPATH
function emulated_service.plain_cpath()
  local path = (os.getenv "LUA_CPATH" or ";;"):gsub("%-sanitized", "")
  return path
end

local Service = {}
Service.__index = Service

--- Starts a service; raises when it cannot.
---@param given autopilot.cli.EmulateOptions?
---@return table service `url`, `ca_file`, `token`, `tenant`, `client_id`, `client_secret`, `stop()`, and the methods below
function emulated_service.start(given)
  local service, message = emulate.start(given)
  if not service then
    error("the emulated service: " .. message, 2)
  end
  return setmetatable(service, Service)
end

--- The environment of its user: the addresses of the service and its authority, and its certificate.
---@param more table<string, string>? further variables
---@return table<string, string>
function Service:environment(more)
  return overlay({
    AUTOPILOT_BASE_URL = self.url,
    AUTOPILOT_CA_FILE = self.ca_file,
    AZURE_AUTHORITY_HOST = self.url .. "/", -- as Azure writes it
  }, more)
end

--- Sends one request with a client that is not ours.
---@param request { method: string, path: string, headers: table<string, string>?, body: string? }
---@return integer? status nil when no answer came
---@return table|string headers names in lower case; the failure when no answer came
---@return string? body
function Service:request(request)
  local https = require "ssl.https"
  local ltn12 = require "ltn12"
  local headers, parts = {}, {}
  overlay(headers, request.headers)
  headers["content-length"] = ("%d"):format(#(request.body or ""))
  local done, status, answered = https.request {
    url = self.url .. request.path,
    method = request.method,
    headers = headers,
    source = ltn12.source.string(request.body or ""),
    sink = ltn12.sink.table(parts),
    cafile = self.ca_file,
    verify = "peer",
    protocol = "any",
    redirect = false,
  }
  if not done then
    return nil, status
  end
  return status, answered, table.concat(parts)
end

--- Uses the service's entrance for tests: `GET state`, `GET log`, `POST advance?seconds=…`,
-- `POST faults`, `POST trigger`, `POST tokens`, `POST approve`, `POST decline`, `POST reset`. Raises when it refuses.
---@param method string
---@param name string
---@param value table? sent as JSON
---@return table
function Service:control(method, name, value)
  local status, _, body = self:request {
    method = method,
    path = "/emulator/" .. name,
    body = value and cjson.encode(value),
  }
  local answer = body and cjson.decode(body)
  if status ~= 200 then
    local reason = answer and answer.error or "no answer"
    error(("the emulated service refuses %s %s: %s"):format(method, name, reason), 2)
  end
  return answer
end

return emulated_service
