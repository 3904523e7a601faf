--- The processes of the emulated service. When any one of them is killed, or this process ends, the others end and
-- their private folder is removed.
--
-- A shell, the supervisor, fills the folder, runs nginx, and removes the folder when nginx has ended. nginx ends, and
-- removes the folder, when the supervisor has ended, or when the pipe from this process to the supervisor has no
-- writer left (`service.watch`). Both run in new sessions if there is `setsid`, so that they are not killed
-- with the group of this process. Nothing secret is in the arguments of a process.

local shell = require "autopilot.cli.emulate.shell"

local processes = {}

local script = [=[
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
-- enough: another child of this process may hold it open. Removes the folder if nginx has ended without doing so,
-- which is not detected everywhere: in a container whose first process does not reap ended processes, signals to them
-- still succeed.
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

--- Starts nginx and waits until it listens.
---@param variables { folder: string, nginx: string, openssl: string } the private folder, which must not exist; paths of the commands
---@param files table<string, string> texts by name, written into the folder
---@return fun()? stop returns when everything is gone; idempotent
---@return string? failed `nginx` or `openssl`, where one of them has failed
---@return string? log the messages of that command
function processes.start(variables, files)
  local parts = {}
  for name, value in pairs(variables) do
    table.insert(parts, ("%s=%s\n"):format(name, shell.quote(value)))
  end
  table.insert(parts, "write_files() {\n")
  for name, text in pairs(files) do
    table.insert(parts, ("cat >%s <<'%s'\n%s\n%s\n"):format(name, file_end, text, file_end))
  end
  table.insert(parts, "}\n" .. script)

  local pipe = assert(io.popen("unset LD_PRELOAD; exec $(command -v setsid) sh", "w"))
  pipe:write(table.concat(parts))
  pipe:flush()
  local outcome, log = shell.read(await, variables.folder):match "^(%l+)\n(.-)\n*$"
  local function stop()
    if pipe then
      shell.read(finish, variables.folder)
      pipe:close()
      pipe = nil
    end
  end
  if outcome == "ready" then
    return stop
  end
  stop()
  return nil, outcome, log
end

return processes
