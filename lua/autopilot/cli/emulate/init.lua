--- `autopilot-sync emulate`: the emulated service behind real nginx, over TLS, on loopback only.
--
-- Everything it needs stands in one private temporary folder, which goes when the service ends,
-- however this process ends.

local account = require "autopilot.cli.emulate.account"
local core = require "autopilot.core"
local emulator = require "autopilot.emulator"
local files = require "autopilot.cli.emulate.files"
local json = require "autopilot.base.json"
local options = require "autopilot.base.options"
local shell = require "autopilot.cli.emulate.shell"
local supervisor = require "autopilot.cli.emulate.supervisor"
local tools = require "autopilot.cli.emulate.tools"

local emulate = {}

-- Below the ports that systems give to outgoing connections.
local lowest_port, highest_port = 20000, 32000
local ports_to_try = 12

---@class autopilot.cli.EmulateOptions
---@field port integer? on loopback; default: a free one
---@field cooldown number? seconds between two syncs of a tenant; default 600
---@field duration number? seconds that a sync is in progress; default 0.5
---@field http_version string? `1.1` for this one alone; `2` (default) offers both
---@field keepalive_timeout number? seconds that an idle connection is kept; default 75
---@field directory string? where the private folder is made; default: TMPDIR, else /tmp
---@field certificates string[]? PEM files: the account may sign in with these certificates, too
---@field federated autopilot.emulator.FederatedCredential[]? platforms with whose tokens the account may sign in, too
---@field public boolean? people may sign in to the account's application with a code; default false
---@field identity string? the account is the machine's managed identity, too: `imds` or `app_service`
---@field faults autopilot.emulator.Fault[]? see `autopilot.emulator.faults`
---@field emulator table? further options of `autopilot.emulator.new`, without functions
---@field search_path string? where nginx and openssl are looked for, as in PATH; default: PATH and where Debian and OpenResty keep them
---@field json boolean? `run` prints one JSON object instead of lines for a shell
---@field print (fun(line: string))? how `run` prints; default: to standard output, at once

local function print_at_once(line)
  io.stdout:write(line, "\n")
  io.stdout:flush()
end

local rules = {
  port = { type = "integer", min = 1, max = 65535 },
  cooldown = { type = "number", min = 0 },
  duration = { type = "number", min = 0 },
  http_version = { type = "string", one_of = { "1.1", "2" }, default = "2" },
  keepalive_timeout = { type = "number", min = 0, default = 75 },
  directory = { type = "string" },
  certificates = { type = "table", default = {} },
  federated = { type = "table", default = {} },
  public = { type = "boolean", default = false },
  identity = { type = "string", one_of = { "imds", "app_service" } },
  faults = { type = "table" },
  emulator = { type = "table", default = {} },
  search_path = { type = "string" },
  json = { type = "boolean", default = false },
  print = { type = "function", default = print_at_once },
}

--- The thumbprints of certificates, or nil and the sentence about one that cannot be read.
local function thumbprints_of(paths)
  local thumbprints = {}
  for _, path in ipairs(paths) do
    local found = account.thumbprints(path)
    if not found[1] then
      return nil, ("openssl finds no certificate in the file %s: it must be PEM"):format(path)
    end
    for _, thumbprint in ipairs(found) do
      table.insert(thumbprints, thumbprint)
    end
  end
  return thumbprints
end

--- The settings as text, or nil and the caller's mistake, which only nginx's log would tell otherwise.
local function settings_of(asked_for)
  local right, mistake = pcall(emulator.new, asked_for)
  if not right then
    return nil, mistake
  end
  local text, message = json.encode(asked_for)
  return text, message and "option 'emulator' must be plain data: " .. message
end

--- A number from low to high, both included, by the system's random bytes.
local function random_integer(low, high)
  return low + math.floor(core.random() * (high - low + 1))
end

local function ports_of(checked)
  local ports = { checked.port }
  for index = #ports + 1, checked.port and 1 or ports_to_try do
    ports[index] = random_integer(lowest_port, highest_port)
  end
  return ports
end

--- What is to be served, before anything is started. Raises a mistake at the caller's caller.
local function plan(checked)
  local thumbprints, message = thumbprints_of(checked.certificates)
  if not thumbprints then
    return nil, message
  end
  local made = account.new(checked)
  local asked_for = account.add_to(checked.emulator, made, {
    thumbprints = thumbprints,
    federated = checked.federated,
  })
  for _, name in ipairs { "cooldown", "duration", "faults" } do
    if checked[name] ~= nil then
      asked_for[name] = checked[name]
    end
  end
  local settings, mistake = settings_of(asked_for)
  if not settings then
    error("autopilot.cli.emulate: " .. mistake, 3)
  end
  return {
    account = made,
    settings = settings,
    ports = ports_of(checked),
    folder_name = "autopilot-sync-" .. core.uuid():gsub("-", ""),
  }
end

---@class autopilot.cli.EmulatedService: autopilot.cli.Account
---@field url string `https://localhost:<port>`
---@field ca_file string path of the authority's certificate, in PEM
---@field folder string the private folder; there as long as the service runs
---@field stop fun() ends the service; returns when its processes and its folder are gone; idempotent

local function launch(checked, planned)
  local directory = checked.directory or os.getenv "TMPDIR" or "/tmp"
  local found, message = tools.find(directory, checked.search_path)
  if not found then
    return nil, message
  end
  local folder = found.directory .. "/" .. planned.folder_name
  local http2 = checked.http_version == "2"
  local configuration, listen_words = files.nginx(found, checked.keepalive_timeout, http2)
  local running
  running, message = supervisor.start {
    folder = folder,
    nginx = found.nginx,
    openssl = found.openssl,
    ports = planned.ports,
    listen_words = listen_words,
    files = {
      ["nginx.conf"] = configuration,
      ["openssl.cnf"] = files.openssl(),
      ["boot.lua"] = files.boot(found.lua_folder, folder),
      ["settings.json"] = planned.settings,
    },
  }
  if not running then
    return nil, message
  end
  local service = planned.account
  service.url = ("https://localhost:%d"):format(running.port)
  service.ca_file = folder .. "/ca.pem"
  service.folder = folder
  service.stop = running.stop
  return service
end

--- Starts the service and waits until it answers. It ends with `stop`, or with this process.
---@param given autopilot.cli.EmulateOptions?
---@return autopilot.cli.EmulatedService?
---@return string? message one sentence: what is missing, or what went wrong
function emulate.start(given)
  local checked = options.check("autopilot.cli.emulate", rules, given)
  local planned, message = plan(checked)
  if not planned then
    return nil, message
  end
  return launch(checked, planned)
end

--- What a shell needs to use the service, as lines that it can read.
local function export_lines(service)
  local lines = {
    "# The emulated service is ready. It ends when this command ends.",
  }
  if service.is_public then
    lines[2] = "# A person signs in with the code that was shown: curl --cacert "
      .. [["$AUTOPILOT_CA_FILE" "$AUTOPILOT_BASE_URL/emulator/approve" -d '{"user_code":"…"}']]
  end
  for _, pair in ipairs(account.environment(service, service.url, service.ca_file)) do
    lines[#lines + 1] = ("export %s=%s"):format(pair[1], shell.quote(pair[2]))
  end
  return lines
end

local function json_line(service)
  local environment = {}
  for _, pair in ipairs(account.environment(service, service.url, service.ca_file)) do
    environment[pair[1]] = pair[2]
  end
  return json.encode {
    base_url = service.url,
    ca_file = service.ca_file,
    token = service.token,
    authority = service.url .. "/",
    tenant = service.tenant,
    client_id = service.client_id,
    client_secret = service.client_secret,
    environment = environment,
  }
end

--- Returns when the service's folder is gone. An interrupt ends it within a second: Lua notices
-- one only between two of its own instructions, so no single wait may be long.
local function wait_for_end(service)
  local still_there = '[ -d "$1" ] && sleep 1 && [ -d "$1" ] && echo yes'
  while shell.read(still_there, service.folder) ~= "" do
  end
end

--- Starts the service, prints how to reach it, and returns when it has ended: by a signal, most often.
---@param given autopilot.cli.EmulateOptions?
---@return boolean? ended
---@return string? message why it did not start
function emulate.run(given)
  local checked = options.check("autopilot.cli.emulate", rules, given)
  local planned, message = plan(checked)
  if not planned then
    return nil, message
  end
  local service
  local ended, interruption = pcall(function()
    service, message = launch(checked, planned)
    if service then
      for _, line in ipairs(checked.json and { json_line(service) } or export_lines(service)) do
        checked.print(line)
      end
      wait_for_end(service)
    end
  end)
  if service then
    service.stop()
  end
  if ended and not service then
    return nil, message
  elseif not ended and not tostring(interruption):find("interrupted!", 1, true) then
    error(interruption, 0)
  end
  return true
end

return emulate
