--- The processes of the emulated service. They end, and its private folder is removed, whatever ends this process.
--
-- A shell, the supervisor, owns nginx. It reads its script from a pipe whose other end only this process holds: the
-- end of that pipe, or a signal, ends the service. Nothing secret is in the arguments of a process.
--
-- A second shell, the janitor, ends the processes and removes the folder. It does so when a pipe ends whose other
-- end only the supervisor holds, so also when the supervisor was killed. It has a session of its own where
-- there is `setsid`, so that it is not killed with the group of processes.

local shell = require "autopilot.cli.emulate.shell"

local supervisor = {}

local janitor = [=[
trap '' HUP INT TERM
read -r end # nothing is written: the pipe ends
read -r watch nginx <processes
kill $watch
tries=0
# nginx can miss a signal while it starts.
while [ -n "$nginx" ] && kill "$nginx" && [ $tries -lt 500 ]; do
  tries=$((tries + 1))
  [ $tries -gt 250 ] && kill -9 "$nginx"
  sleep 0.02
done
cd / && rm -rf "$folder"
]=]

local script = [=[
clean_up() {
  trap '' HUP INT TERM
  exec 4>&-
  wait $janitor
  [ ! -d "$folder" ] || folder=$folder sh -c "$janitor_script" </dev/null # the janitor was killed
}

main() {
  trap clean_up EXIT
  # A second signal must not end the shell in the middle of cleaning up.
  trap 'trap "" HUP INT TERM; exit 0' HUP INT TERM
  umask 077
  mkdir "$folder" && cd "$folder" || exit 1
  exec >supervisor.log 2>&1
  echo "$$" >supervisor.pid
  mkfifo life
  setsid=$(command -v setsid)
  folder=$folder $setsid sh -c "$janitor_script" 3<&- <life &
  janitor=$!
  exec 4>life
  (
    while read -r line; do :; done <&3
    kill "$$"
  ) 4>&- &
  watch=$!
  echo "$watch" >processes
  ulimit -S -n "$(ulimit -H -n)" 2>/dev/null # a thousand connections are not many here
  connections=$(ulimit -n)
  [ "$connections" -le 4096 ] 2>/dev/null || connections=4096
  echo "worker_connections $connections;" >connections.conf
  write_files
  if "$openssl" req -x509 -config openssl.cnf -days 30 -sha256 -nodes -newkey ec \
    -pkeyopt ec_paramgen_curve:P-256 -keyout server.key -out ca.pem 3<&- 4>&-; then
    "$nginx" -p "$folder/" -c "$folder/nginx.conf" 2>>error.log 3<&- 4>&- &
    nginx_process=$!
    echo "$watch $nginx_process" >processes
    wait "$nginx_process"
    echo "$watch" >processes
  fi
  [ -f ready ] && return
  : >ended
  wait "$watch" # until the parent has read why, and closes its end
}

main 3<&0 </dev/null; exit # in one line: a shell may have read no further
]=]

-- Waits until nginx listens, which it does before it writes its process id. Prints `ready` then, else who has failed,
-- and what it says. Starting takes a fraction of a second, or longer on a busy machine.
local await = [[
umask 077
exec 2>/dev/null
tries=0 seen=
until [ -s "$1/nginx.pid" ] && : >"$1/ready"; do
  tries=$((tries + 1))
  # Without its folder the supervisor has ended.
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

--- Starts a supervisor and waits until its service listens.
---@param variables { folder: string, nginx: string, openssl: string } the private folder, which must not exist; paths of the commands
---@param files table<string, string> texts by name, written into the folder
---@return fun()? stop returns when everything is gone; idempotent
---@return string? culprit `nginx` or `openssl`; nil when the supervisor itself has ended
---@return string? complaint what it has logged
function supervisor.start(variables, files)
  local parts = { "janitor= janitor_script=", shell.quote(janitor), "\n" }
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
  local outcome, complaint = shell.read(await, variables.folder):match "^(%l+)\n(.-)\n*$"
  local function stop()
    if pipe then
      -- The pipe's end is enough, unless some other child of this process holds it open as well.
      shell.read('exec 2>/dev/null; kill "$(cat "$1/supervisor.pid")"', variables.folder)
      pipe:close()
      pipe = nil
    end
  end
  if outcome == "ready" then
    return stop
  end
  stop()
  return nil, outcome, complaint
end

return supervisor
