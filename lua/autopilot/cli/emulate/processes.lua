--- The processes of the emulated service. They end, and its private folder is removed, whatever ends this process.
--
-- A shell, the supervisor, fills the folder, runs nginx, and removes the folder when nginx has ended. It reads its
-- script from a pipe whose other end only this process holds. Nothing secret is in the arguments of a process.
--
-- A second shell, the watcher, waits for the end of that pipe, ends nginx, and removes the folder if the supervisor
-- does not. Where there is `setsid`, it has a session of its own, so that it is not killed with the group of processes.

local shell = require "autopilot.cli.emulate.shell"

local processes = {}

local watcher = [=[
cd /
read -r end <&3 # nothing is written: the pipe ends
: >"$folder/ending"
tries=0
while [ -d "$folder" ]; do
  tries=$((tries + 1))
  # nginx can miss a signal while it starts. If it is gone, the supervisor may have been killed.
  process=$(cat "$folder/nginx.process")
  if [ $tries -gt 250 ] || ! kill "$process"; then
    kill -9 "$process"
    rm -rf "$folder"
  fi
  sleep 0.02
done
]=]

local script = [=[
main() {
  trap '' HUP INT TERM # for the watcher as well
  umask 077
  mkdir "$folder" && cd "$folder" || exit 1
  exec >supervisor.log 2>&1
  setsid=$(command -v setsid)
  folder=$folder $setsid sh -c "$watcher" &
  watcher_process=$!
  ulimit -S -n "$(ulimit -H -n)" 2>/dev/null # a thousand connections are not many here
  connections=$(ulimit -n)
  [ "$connections" -le 4096 ] 2>/dev/null || connections=4096
  echo "worker_connections $connections;" >connections.conf
  write_files
  if "$openssl" req -x509 -config openssl.cnf -days 30 -sha256 -nodes -newkey ec \
    -pkeyopt ec_paramgen_curve:P-256 -keyout server.key -out ca.pem 3<&-; then
    (
      trap - HUP INT TERM
      exec "$nginx" -p "$folder/" -c "$folder/nginx.conf" 2>>error.log 3<&-
    ) &
    echo "$!" >nginx.process
    wait "$!"
  fi
  [ -f ready ] || : >ended
  # The parent reads why nginx did not start.
  while [ ! -f ready ] && [ -d "$folder" ]; do sleep 0.02; done
  [ -f ending ] || kill -9 "$watcher_process"
  cd / && rm -rf "$folder"
  wait
}

main 3<&0 </dev/null; exit # in one line: a shell may have read no further
]=]

-- Waits until nginx listens, which it does before it writes its process id. Prints `ready` then, else what has failed
-- and its log. Starting takes a fraction of a second, or longer on a busy machine.
local await = [[
umask 077
exec 2>/dev/null
tries=0 seen=
until [ -s "$1/nginx.pid" ] && : >"$1/ready"; do
  tries=$((tries + 1))
  # Without its folder everything has ended.
  if [ -d "$1" ]; then seen=yes; elif [ -n "$seen" ] || [ $tries -gt 250 ]; then exit; fi
  # nginx itself would try a port that is in use for some seconds more.
  if [ -f "$1/ended" ] || grep -q 'bind() to' "$1/error.log" || [ $tries -gt 1500 ]; then
    if cd "$1" && [ -f error.log ]; then
      echo nginx && cat error.log
    else
      echo openssl && tail -n 1 supervisor.log
    fi
    exit
  fi
  sleep 0.02
done
echo ready
]]

-- No line of a file can be this one: the files are configuration and JSON in one line.
local file_end = "end-of-file-of-the-emulated-service"

--- Starts nginx and waits until it listens.
---@param variables { folder: string, nginx: string, openssl: string } the private folder, which must not exist; paths of the commands
---@param files table<string, string> texts by name, written into the folder
---@return fun()? stop returns when everything is gone; idempotent
---@return string? failed `nginx` or `openssl`, where one of them has failed
---@return string? log what it says
function processes.start(variables, files)
  local parts = { "watcher=", shell.quote(watcher), "\n" }
  for name, value in pairs(variables) do
    table.insert(parts, ("%s=%s\n"):format(name, shell.quote(value)))
  end
  table.insert(parts, "write_files() {\n")
  for name, text in pairs(files) do
    table.insert(parts, ("cat >%s <<'%s'\n%s\n%s\n"):format(name, file_end, text, file_end))
  end
  table.insert(parts, "}\n" .. script)

  local pipe = assert(io.popen("unset LD_PRELOAD; exec sh", "w"))
  pipe:write(table.concat(parts))
  pipe:flush()
  local outcome, log = shell.read(await, variables.folder):match "^(%l+)\n(.-)\n*$"
  local function stop()
    if pipe then
      -- The pipe's end is enough, unless some other child of this process holds it open as well.
      local remove = 'while [ -d "$1" ]; do rm -rf "$1"; done'
      local finish = 'exec 2>/dev/null; kill "$(cat "$1/nginx.process")"; [ -f "$1/ready" ] || '
      shell.read(finish .. remove, variables.folder)
      pipe:close()
      shell.read(remove, variables.folder) -- the supervisor may have been killed
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
