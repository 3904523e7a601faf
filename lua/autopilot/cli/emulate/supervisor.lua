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
kill $watch $nginx
tries=0
while [ -n "$nginx" ] && kill -0 "$nginx" && [ $tries -lt 500 ]; do
  tries=$((tries + 1))
  [ $tries -gt 250 ] && kill -9 "$nginx"
  sleep 0.02
done
cd / && rm -rf "$folder"
]=]

local script = [=[
# Gives the parent its answer in one piece.
tell() {
  printf '%s\n%s\n%s\n' "$1" "$$" "$2" >told.part
  mv told.part told
}

fail() {
  tell failed "$1"
  wait "$watch" # until the parent has read it and closes its end
  exit 1
}

# Does the janitor's work when that was killed.
clean_up() {
  trap '' HUP INT TERM
  exec 4>&-
  wait $janitor
  [ ! -d "$folder" ] || folder=$folder sh -c "$janitor_script" </dev/null
}

# What the janitor has to end.
note_processes() {
  echo "$watch $nginx_process" >processes
}

start_janitor() {
  mkfifo life
  setsid=$(command -v setsid)
  folder=$folder $setsid sh -c "$janitor_script" 3<&- <life &
  janitor=$!
  exec 4>life
  rm -f life
}

make_certificate() {
  "$openssl" req -x509 -config openssl.cnf -days 30 -sha256 -nodes \
    -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout server.key -out ca.pem
}

# Starts nginx on $port: 0 when it listens, 1 when it cannot, with the reason in error.log.
start_nginx() {
  echo "listen 127.0.0.1:$port $listen_words;" >listen.conf
  [ -z "$with_ipv6" ] || echo "listen [::1]:$port $listen_words;" >>listen.conf
  : >error.log
  "$nginx" -p "$folder/" -c "$folder/nginx.conf" 2>>error.log 3<&- 4>&- &
  nginx_process=$!
  note_processes
  tries=0
  until [ -s nginx.pid ]; do # it listens before it writes this
    tries=$((tries + 1))
    # nginx itself would try a port that is in use for some seconds more.
    if grep -q 'bind() to' error.log || [ $tries -gt 500 ] || ! kill -0 $nginx_process; then
      kill "$nginx_process"
      wait "$nginx_process"
      nginx_process=
      note_processes
      return 1
    fi
    sleep 0.02
  done
}

find_port() {
  with_ipv6=yes
  for port in $ports; do
    start_nginx && return 0
    if grep -v 'Address already in use' error.log | grep -q '\[::1\]'; then
      with_ipv6= # this machine has none
      start_nginx && return 0
    fi
    grep -q 'Address already in use' error.log || return 1
  done
  return 1
}

why_not_started() {
  if grep -q 'Address already in use' error.log; then
    echo "no port is free: tried $ports"
  elif grep -q "module 'cjson" error.log; then
    echo "nginx's Lua has no cjson: install the Debian package lua-cjson"
  elif grep -q "'resty\.core'" error.log; then
    echo "nginx's Lua has no resty.core: install the Debian package lua-resty-core"
  else # the first grave message in nginx's log, without its date and process
    echo "nginx did not start: $(grep -v '\[warn\]' error.log |
      sed -n 's/^[^[]*\[[a-z]*\] \([0-9#]*: \)*//p' | head -n 1)"
  fi
}

main() {
  trap clean_up EXIT
  # A second signal must not end the shell in the middle of cleaning up.
  trap 'trap "" HUP INT TERM; exit 0' HUP INT TERM
  umask 077
  mkdir "$folder" && cd "$folder" || exit 1
  exec >supervisor.log 2>&1
  start_janitor
  (
    while read -r line; do :; done <&3
    kill "$$"
  ) 4>&- &
  watch=$!
  note_processes
  ulimit -S -n "$(ulimit -H -n)" 2>/dev/null # a thousand connections are not many here
  connections=$(ulimit -n)
  [ "$connections" -le 4096 ] 2>/dev/null || connections=4096
  echo "worker_connections $connections;" >connections.conf
  write_files
  make_certificate || fail "openssl could not make a certificate: $(tail -n 1 supervisor.log)"
  find_port || fail "$(why_not_started)"
  tell ready "$port"
  wait "$nginx_process"
  nginx_process=
  note_processes
}

main 3<&0 </dev/null; exit # in one line: a shell may have read no further
]=]

-- No line of a file can be this one: the files are configuration and JSON in one line.
local file_end = "end-of-file-of-the-emulated-service"

-- Prints the answer of a supervisor. Its folder is there at once; starting takes a fraction of a second, or longer
-- on a busy machine.
local await_answer = [[
tries=0
until [ -f "$1/told" ]; do
  tries=$((tries + 1))
  [ -d "$1" ] && seen=yes
  [ -n "$seen" ] && [ ! -d "$1" ] && exit
  [ $tries -lt 600 ] || exit
  sleep 0.05
done
cat "$1/told"
]]

---@class autopilot.cli.SupervisorTask
---@field variables table<string, string> of the script: `folder`, which must not exist, `nginx`, `openssl`, `ports` to try, `listen_words`
---@field files table<string, string> texts by name, written into the folder

--- Starts a supervisor and waits until its service listens.
---@param task autopilot.cli.SupervisorTask
---@return { port: integer, stop: fun() }? running `stop` returns when everything is gone
---@return string? message
function supervisor.start(task)
  local parts = { "watch= nginx_process= janitor= janitor_script=", shell.quote(janitor), "\n" }
  for name, value in pairs(task.variables) do
    table.insert(parts, ("%s=%s\n"):format(name, shell.quote(value)))
  end
  table.insert(parts, "write_files() {\n")
  for name, text in pairs(task.files) do
    table.insert(parts, ("cat >%s <<'%s'\n%s\n%s\n"):format(name, file_end, text, file_end))
  end
  table.insert(parts, "}\n" .. script)

  local pipe = io.popen("unset LD_PRELOAD; exec sh", "w")
  if not pipe then
    return nil, "the shell could not be started"
  end
  pipe:write(table.concat(parts))
  pipe:flush()
  local told = shell.read(await_answer, task.variables.folder)
  local outcome, process, value = told:match "^(%a+)\n(%d+)\n(.-)\n*$"
  local function stop()
    if pipe then
      -- The pipe's end is enough, unless some other child of this process holds it open as well.
      if process then
        shell.read('kill "$1" 2>/dev/null', process)
      end
      pipe:close()
      pipe = nil
    end
  end
  if outcome ~= "ready" then
    stop()
    return nil, value or "the emulated service did not start"
  end
  return { port = tonumber(value), stop = stop }
end

return supervisor
