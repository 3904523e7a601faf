--- `autopilot-sync emulate`: the emulated service in real nginx, over TLS, on loopback only.
--
-- All its files are in one private temporary folder, which is removed when the service ends, however this process
-- ends.

local account = require "autopilot.cli.emulate.account"
local core = require "autopilot.core"
local is_interrupt = require "autopilot.base.interrupt"
local json = require "autopilot.base.json"
local merged = require "autopilot.base.merged"
local nginx = require "autopilot.cli.emulate.nginx"
local processes = require "autopilot.cli.emulate.processes"
local shell = require "autopilot.cli.emulate.shell"

local emulate = {}

-- Below the ports that systems give to outgoing connections.
local lowest_port, highest_port = 20000, 32000
local ports_to_try = 12

--- The options of the command, by their names; the last three are for specs.
---@class autopilot.cli.EmulateOptions
---@field port integer? on loopback; default: a free one
---@field cooldown number? seconds between two syncs of a tenant; default 600
---@field duration number? seconds that a sync is in progress; default 0.5
---@field http_version string? `1.1` for this one alone; default: both
---@field certificate string[]? PEM files: the account may sign in with these certificates, too
---@field federated string[][]? issuer and subject of platforms with whose tokens the account may sign in, too
---@field public boolean? people may sign in to the account's application with a code; default false
---@field identity string? the account is the machine's managed identity, too, `imds` or `app_service`; or a job's, `github` or `pipelines`
---@field fault autopilot.emulator.Fault[]? see `autopilot.emulator.faults`
---@field json boolean? `run` prints one JSON object instead of lines for a shell
---@field emulator table? further options of `autopilot.emulator.new`, without functions
---@field directory string? where the private folder is made; default: TMPDIR, else /tmp
---@field search_path string? where nginx and openssl are looked for, as in PATH; default: PATH and where Debian and OpenResty keep them

local function port_to_try()
  return lowest_port + math.floor(core.random() * (highest_port - lowest_port + 1))
end

---@class autopilot.cli.EmulatedService: autopilot.cli.Account
---@field url string `https://localhost:<port>`
---@field ca_file string path of the certificate to trust, in PEM
---@field folder string the private folder, which exists while the service runs
---@field stop fun() ends the service; returns when its processes and its folder are gone; idempotent

--- Starts the service on a port. Returns its address, folder and `stop`; or nil and why it did not start, nil alone
-- when the port is in use.
local function start_on(port, tools, settings, has_http2)
  local folder = tools.directory .. "/autopilot-sync-" .. core.uuid():gsub("-", "")
  local commands = { folder = folder, nginx = tools.nginx, openssl = tools.openssl }
  local stop, failed, log = processes.start(commands, {
    ["nginx.conf"] = nginx.configuration(tools, folder, port, has_http2),
    ["openssl.cnf"] = nginx.certificate_request,
    ["settings.json"] = settings,
  })
  if failed == "nginx" then
    return nil, nginx.why_not_started(log)
  elseif failed == "openssl" then
    return nil, "openssl could not make a certificate: " .. log
  elseif not stop then
    return nil, "the emulated service did not start"
  end
  local url = ("https://localhost:%d"):format(port)
  return { url = url, ca_file = folder .. "/ca.pem", folder = folder, stop = stop }
end

--- Starts the service and waits until it listens. It ends with `stop`, or with this process.
---@param given autopilot.cli.EmulateOptions?
---@return autopilot.cli.EmulatedService?
---@return string? message one sentence: what is missing, or what went wrong
function emulate.start(given)
  given = given or {}
  local directory = given.directory or os.getenv "TMPDIR" or "/tmp"
  local tools, missing = nginx.find(directory, given.search_path)
  if not tools then
    return nil, missing
  end
  local service, settings = account.new(given)
  if not service then
    return nil, settings
  end
  local text, has_http2, tried = assert(json.encode(settings)), given.http_version ~= "1.1", {}
  for attempt = 1, given.port and 1 or ports_to_try do
    tried[attempt] = given.port or port_to_try()
    local started, failure = start_on(tried[attempt], tools, text, has_http2)
    if started or failure then
      return started and merged(service, started), failure
    end
  end
  return nil, "no port is free: tried " .. table.concat(tried, " ")
end

--- Lines that a shell can read, to use the service.
local function export_lines(service)
  local lines = { "# The emulated service is ready. It ends when this command ends." }
  if service.is_public then
    lines[2] = "# A person signs in with the code that was shown: curl --cacert "
      .. [["$AUTOPILOT_CA_FILE" "$AUTOPILOT_BASE_URL/emulator/approve" -d '{"user_code":"…"}']]
  end
  for _, pair in ipairs(account.environment(service)) do
    table.insert(lines, ("export %s=%s"):format(pair[1], shell.quote(pair[2])))
  end
  return lines
end

local function json_line(service)
  local told = { environment = {} }
  for _, row in ipairs(account.environment(service)) do
    told.environment[row[1]] = row[2]
    if row[3] then
      told[row[3]] = row[2]
    end
  end
  return json.encode(told)
end

--- Returns when the service's folder is gone. It waits in short steps, because Lua notices an interrupt only between
-- two instructions.
local function wait_for_end(service)
  local still_there = 'exec 2>/dev/null; [ -d "$1" ] && sleep 1 && [ -d "$1" ] && echo yes'
  while shell.read(still_there, service.folder) ~= "" do
  end
end

--- Starts the service, prints how to reach it, and returns when it has ended: by a signal, most often.
---@param given autopilot.cli.EmulateOptions
---@param print_line fun(line: string)
---@return boolean? ended
---@return string? message why it did not start
function emulate.run(given, print_line)
  io.stdout:setvbuf "line" -- what is printed is seen at once, also by a pipe's reader
  local service, message
  local ended, raised = pcall(function()
    service, message = emulate.start(given)
    if service then
      for _, line in ipairs(given.json and { json_line(service) } or export_lines(service)) do
        print_line(line)
      end
      wait_for_end(service)
    end
  end)
  if service then
    service.stop()
  end
  if not ended and not is_interrupt(raised) then
    error(raised, 0)
  elseif ended and not service then
    return nil, message
  end
  return true
end

return emulate
