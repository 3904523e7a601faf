--- `autopilot-sync emulate`: the emulated service in real nginx, over TLS, on loopback only.
--
-- All its files are in one private temporary folder. When any one of its processes is killed, or this process ends,
-- the others end and the folder is removed.

local account = require "autopilot.cli.emulate.account"
local core = require "autopilot.core"
local is_interrupt = require "autopilot.base.interrupt"
local json = require "autopilot.base.json"
local merged = require "autopilot.base.merged"
local nginx = require "autopilot.cli.emulate.nginx"
local shell = require "autopilot.cli.emulate.shell"

local emulate = {}

-- Below the ports that systems give to outgoing connections.
local lowest_port, highest_port = 20000, 32000
local ports_to_try = 12

-- ---- Processes ---------------------------------------------------------------------------------------

-- A shell, the supervisor, fills the folder, runs nginx, and removes the folder when nginx has ended. nginx ends, and
-- removes the folder, when the supervisor has ended, or when the pipe from this process to the supervisor has no
-- writer left (`service.watch`). Both have a session of their own where there is `setsid`, so that they are not killed
-- with the group of this process. Nothing secret is in the arguments of a process.
local supervisor = [=[
main() {
  trap '' HUP INT TERM
  umask 077
  mkdir "$folder" "$folder/logs" && cd "$folder" || exit 1 # nginx may open logs/error.log at first
  exec >supervisor.log 2>&1
  echo $$ >supervisor.pid
  ulimit -S -n "$(ulimit -H -n)" 2>/dev/null # a thousand connections are not many here
  connections=$(ulimit -n)
  [ "$connections" -le 4096 ] 2>/dev/null || connections=4096
  echo "worker_connections $connections;" >connections.conf
  write_files
  if "$openssl" req -x509 -config openssl.cnf -days 30 -sha256 -nodes -newkey ec \
    -pkeyopt ec_paramgen_curve:P-256 -keyout server.key -out ca.pem; then
    "$nginx" -p "$folder/" -c "$folder/nginx.conf" <&3 2>>error.log &
    echo "$!" >nginx.process
    wait
  fi
  if [ ! -f outcome ]; then
    if [ -f nginx.process ]; then
      echo nginx && cat error.log
    else
      echo openssl && tail -n 1 supervisor.log
    fi >failure
    mv failure outcome
    read -r end <&3 # the parent closes the pipe when it has read it
  fi
  cd / && rm -rf "$folder"
}

main 3<&0 </dev/null; exit # in one line: a shell may have read no further
]=]

-- Waits until nginx reports that it listens, or the supervisor reports what failed, and prints that report. This
-- takes a fraction of a second, or longer on a busy machine; and some seconds where a port is in use, which nginx
-- tries several times.
local await = [[
tries=0
until [ -s "$1/outcome" ] || [ $tries -gt 1500 ]; do
  tries=$((tries + 1))
  sleep 0.02
done
cat "$1/outcome" 2>/dev/null
]]

-- Sends signals to nginx, which can miss one while it starts, until the folder is gone. Closing the pipe is not
-- enough: another child of this process may hold it open. Removes the folder if nginx has ended without doing so. In a
-- container whose first process does not reap others, signals to an ended nginx succeed: then the folder is removed
-- after some seconds.
local finish = [[
exec 2>/dev/null
tries=0 signal=TERM
while [ -d "$1" ]; do
  kill -$signal "$(cat "$1/nginx.process")" || rm -rf "$1"
  tries=$((tries + 1))
  [ $tries -lt 250 ] || signal=KILL
  [ $tries -lt 275 ] || rm -rf "$1"
  sleep 0.02
done
]]

-- The line that ends each file in the script. No file contains it: they are configuration and JSON in one line.
local file_end = "end-of-file-of-the-emulated-service"

-- ---- Starting and ending -----------------------------------------------------------------------------

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

--- The script that starts the service in a folder, which must not exist.
---@param files table<string, string> texts by name, written into the folder
local function script_for(folder, tools, files)
  local parts = {}
  for name, value in pairs { folder = folder, nginx = tools.nginx, openssl = tools.openssl } do
    table.insert(parts, ("%s=%s\n"):format(name, shell.quote(value)))
  end
  table.insert(parts, "write_files() {\n")
  for name, text in pairs(files) do
    table.insert(parts, ("cat >%s <<'%s'\n%s\n%s\n"):format(name, file_end, text, file_end))
  end
  table.insert(parts, "}\n" .. supervisor)
  return table.concat(parts)
end

--- Starts the service on a port and waits until it listens. Returns its address, folder and `stop`; or nil and why it
-- did not start, nil alone when the port is in use.
local function start_on(port, tools, settings, has_http2)
  local folder = tools.directory .. "/autopilot-sync-" .. core.uuid():gsub("-", "")
  local pipe = assert(io.popen("unset LD_PRELOAD; exec $(command -v setsid) sh", "w"))
  pipe:write(script_for(folder, tools, {
    ["nginx.conf"] = nginx.configuration(tools, folder, port, has_http2),
    ["openssl.cnf"] = nginx.certificate_request,
    ["settings.json"] = settings,
  }))
  pipe:flush()
  local outcome, log = shell.read(await, folder):match "^(%l+)\n(.-)\n*$"
  local function stop()
    if pipe then
      shell.read(finish, folder)
      pipe:close()
      pipe = nil
    end
  end
  if outcome == "ready" then
    local url = ("https://localhost:%d"):format(port)
    return { url = url, ca_file = folder .. "/ca.pem", folder = folder, stop = stop }
  end
  stop()
  if outcome == "nginx" then
    return nil, nginx.why_not_started(log)
  end
  local made_none = outcome == "openssl" and "openssl could not make a certificate: " .. log
  return nil, made_none or "the emulated service did not start"
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
---@param print_line fun(line: string): boolean? true if the line could not be written: the service then ends, because its
--- address is not known to anyone
---@return boolean? ended
---@return string? message why it did not start
function emulate.run(given, print_line)
  local service, message
  local ended, raised = pcall(function()
    service, message = emulate.start(given)
    if service then
      local is_lost = false
      for _, line in ipairs(given.json and { json_line(service) } or export_lines(service)) do
        is_lost = print_line(line) or is_lost
      end
      if not is_lost then
        wait_for_end(service)
      end
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
