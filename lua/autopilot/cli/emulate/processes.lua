--- The processes of the emulated service. They end, and its private folder is removed, whatever ends this process.
--
-- A shell fills the folder and then becomes nginx. It reads its script from a pipe whose other end only this process
-- holds. Nothing secret is in the arguments of a process.
--
-- Two more shells, the janitors, clean up: one waits for the end of that pipe and ends nginx, the other waits for the
-- end of nginx and removes the folder. Where there is `setsid`, they have a session of their own, so that they are not
-- killed with the group of processes.

local shell = require "autopilot.cli.emulate.shell"

local processes = {}

local janitors = [=[
trap '' HUP INT TERM
cd /
(
  read -r end <&3 # nothing is written: the pipe ends
  tries=0
  while [ -d "$folder" ]; do
    tries=$((tries + 1))
    # nginx can miss a signal while it starts. Where it is gone, the other janitor was killed.
    if [ $tries -gt 250 ] || ! kill "$nginx"; then
      kill -9 "$nginx"
      rm -rf "$folder"
    fi
    sleep 0.02
  done
) &
other=$!
read -r end # nothing is written: nginx alone holds the other end of this pipe
if [ -f "$folder/ready" ]; then
  rm -rf "$folder"
else
  : >"$folder/ended"
fi
while [ -d "$folder" ]; do sleep 0.02; done # the parent reads why nginx did not start
kill -9 "$other"
]=]

local script = [=[
main() {
  trap '' HUP INT TERM # until the janitors are there
  umask 077
  mkdir "$folder" && cd "$folder" || exit 1
  exec >start.log 2>&1
  echo "$$" >process.pid
  mkfifo life
  setsid=$(command -v setsid)
  folder=$folder nginx=$$ $setsid sh -c "$janitors" <life &
  exec 4>life
  trap - HUP INT TERM
  ulimit -S -n "$(ulimit -H -n)" 2>/dev/null # a thousand connections are not many here
  connections=$(ulimit -n)
  [ "$connections" -le 4096 ] 2>/dev/null || connections=4096
  echo "worker_connections $connections;" >connections.conf
  write_files
  "$openssl" req -x509 -config openssl.cnf -days 30 -sha256 -nodes -newkey ec \
    -pkeyopt ec_paramgen_curve:P-256 -keyout server.key -out ca.pem 3<&- 4>&- &&
    exec "$nginx" -p "$folder/" -c "$folder/nginx.conf" 2>>error.log 3<&-
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
      echo openssl && tail -n 1 start.log
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
  local parts = { "janitors=", shell.quote(janitors), "\n" }
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
      shell.read('exec 2>/dev/null; kill "$(cat "$1/process.pid")"', variables.folder)
      pipe:close()
      shell.read('while [ -d "$1" ]; do rm -rf "$1"; done', variables.folder)
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
