--- The process that owns the emulated service: a shell script, which outlives a killed parent.
--
-- It reads the script from its standard input, a pipe whose other end only the parent holds. The end of
-- that pipe, or a signal, ends the service. Nothing secret is in its arguments.
--
-- A second script, the janitor, stops nginx and removes the folder. It does so when a pipe ends whose other
-- end only the supervisor holds, so also when the supervisor was killed. It has a session of its own where
-- there is `setsid`, so that it outlives a kill of the whole process group.

local shell = require "autopilot.cli.emulate.shell"

local supervisor = {}

-- `$folder` is in its environment. Each line that it reads names processes: a name, and their ids now.
local janitor = [=[
trap '' HUP INT TERM
nginx= workers= watch= client=
while read -r name processes; do
  eval "$name=\$processes"
done
tries=0
for process in $watch $client $nginx $workers; do
  kill "$process" 2>/dev/null
done
for process in $nginx $workers; do
  while kill -0 "$process" 2>/dev/null && [ $tries -lt 500 ]; do
    tries=$((tries + 1))
    [ $tries -gt 250 ] && kill -9 "$process"
    sleep 0.02
  done
done
cd /
rm -rf "$folder"
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

clean_up() {
  trap '' HUP INT TERM
  exec 4>&-
  [ -z "$janitor" ] || wait "$janitor"
  cd /
  if [ -n "$made" ] && [ -d "$folder" ]; then # the janitor was killed
    for process in $watch $client $nginx_process; do
      kill "$process" 2>/dev/null
    done
    wait
    rm -rf "$folder"
  fi
}

# Names the processes that the janitor has to end.
own() {
  (trap '' PIPE && echo "$@" >&4) # the janitor may have been killed
}

stop_nginx() {
  [ -n "$nginx_process" ] || return 0
  kill "$nginx_process" 2>/dev/null
  # A signal ends `wait` early: it counts only once the process is gone.
  while kill -0 "$nginx_process" 2>/dev/null; do
    wait "$nginx_process"
  done
  nginx_process=
  own nginx
}

start_janitor() {
  mkfifo life
  setsid=$(command -v setsid)
  folder=$folder $setsid sh -c "$janitor_script" 3<&- <life &
  janitor=$!
  exec 4>life
  rm -f life
}

make_certificates() {
  curve='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256'
  "$openssl" req -x509 -config openssl.cnf -extensions authority -days 30 $curve \
    -keyout authority.key -out ca.pem &&
    "$openssl" req -new -config openssl.cnf -subj /CN=localhost $curve \
      -keyout server.key -out server.csr &&
    "$openssl" x509 -req -in server.csr -CA ca.pem -CAkey authority.key -set_serial 2 \
      -days 30 -sha256 -extfile openssl.cnf -extensions server -out server.pem &&
    rm -f authority.key server.csr
}

# Starts nginx on $port: 0 when it listens, 1 when it cannot, with the reason in error.log.
start_nginx() {
  echo "listen 127.0.0.1:$port $listen_words;" >listen.conf
  [ -n "$with_ipv6" ] && echo "listen [::1]:$port $listen_words;" >>listen.conf
  rm -f nginx.pid
  : >error.log
  "$nginx" -p "$folder/" -c "$folder/nginx.conf" 2>>error.log 3<&- 4>&- &
  nginx_process=$!
  own nginx "$nginx_process"
  tries=0
  until [ -s nginx.pid ]; do
    tries=$((tries + 1))
    # nginx itself would try a port that is in use for some seconds more.
    if grep -q 'bind() to' error.log || [ $tries -gt 500 ] || ! kill -0 $nginx_process; then
      stop_nginx
      return 1
    fi
    sleep 0.02
  done
}

# Waits for a whole answer over TLS, checked with the authority that clients are given.
await_answer() {
  printf 'GET /emulator/state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >request.txt
  tries=0
  until grep -q '^HTTP/1.1 200' answer.txt 2>/dev/null; do
    # In the background: a signal waits for a foreground process, and that for a stuck server.
    if [ -z "$client" ] || ! kill -0 "$client"; then
      "$openssl" s_client -connect "127.0.0.1:$port" -servername localhost -CAfile ca.pem \
        -verify_return_error -quiet <request.txt >answer.txt 4>&- &
      client=$!
      own client "$client"
    fi
    tries=$((tries + 1))
    [ $tries -lt 500 ] && kill -0 "$nginx_process" || return 1
    sleep 0.02
  done
}

# The workers of an nginx whose master is killed go on.
children_of() {
  ps -A -o pid=,ppid= | while read -r process parent; do
    [ "$parent" = "$1" ] && echo "$process"
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

# The first grave message in nginx's log, without its date and process.
first_complaint() {
  grep -v '\[warn\]' error.log | sed -n 's/^[^[]*\[[a-z]*\] \([0-9#]*: \)*//p' | head -n 1
}

why_not_started() {
  if grep -q 'Address already in use' error.log; then
    echo "no port is free: tried $ports"
  elif grep -q "module 'cjson" error.log; then
    echo "nginx's Lua has no cjson: install the Debian package lua-cjson"
  elif grep -q "'resty\.core'" error.log; then
    echo "nginx's Lua has no resty.core: install the Debian package lua-resty-core"
  else
    echo "nginx did not start: $(first_complaint)"
  fi
}

main() {
  trap clean_up EXIT
  # A second signal must not end the shell in the middle of cleaning up.
  trap 'trap "" HUP INT TERM; exit 0' HUP INT TERM
  umask 077
  mkdir "$folder" || exit 1
  made=yes
  cd "$folder" || exit 1
  exec >supervisor.log 2>&1
  start_janitor
  (
    while read -r line; do :; done <&3
    kill "$$"
  ) 4>&- &
  watch=$!
  own watch "$watch"
  ulimit -S -n "$(ulimit -H -n)" 2>/dev/null # a thousand connections are not many here
  connections=$(ulimit -n)
  [ "$connections" -le 4096 ] 2>/dev/null || connections=4096
  echo "worker_connections $connections;" >connections.conf
  write_files
  make_certificates || fail "openssl could not make a certificate: $(tail -n 1 supervisor.log)"
  find_port || fail "$(why_not_started)"
  await_answer || fail "the emulated service does not answer: $(first_complaint)"
  own workers $(children_of "$nginx_process")
  tell ready "$port"
  wait "$nginx_process"
  own nginx
}

main 3<&0 </dev/null; exit # in one line: a shell may have read no further
]=]

-- No line of a file can be this one: the files are configuration and JSON in one line.
local file_end = "end-of-file-of-the-emulated-service"

local function assignment(name, value)
  return ("%s=%s\n"):format(name, shell.quote(value))
end

---@class autopilot.cli.SupervisorTask
---@field folder string made by the supervisor; must not exist
---@field nginx string path
---@field openssl string path
---@field ports integer[] tried in this order
---@field listen_words string what `listen` says after the address
---@field files table<string, string> texts by name, written into the folder

--- The whole script for a task.
---@param task autopilot.cli.SupervisorTask
---@return string
function supervisor.script(task)
  local parts = {
    "watch= client= nginx_process= made= janitor=\n",
    assignment("janitor_script", janitor),
    assignment("folder", task.folder),
    assignment("nginx", task.nginx),
    assignment("openssl", task.openssl),
    assignment("ports", table.concat(task.ports, " ")),
    assignment("listen_words", task.listen_words),
    "write_files() {\n",
  }
  for name, text in pairs(task.files) do
    parts[#parts + 1] = ("cat >%s <<'%s'\n%s\n%s\n"):format(name, file_end, text, file_end)
  end
  parts[#parts + 1] = "}\n"
  parts[#parts + 1] = script
  return table.concat(parts)
end

-- The folder appears at once; what comes after takes a fraction of a second, or longer on a busy machine.
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

--- Starts a supervisor and waits until its service answers.
---@param task autopilot.cli.SupervisorTask
---@return { port: integer, stop: fun() }? running `stop` returns when everything is gone
---@return string? message
function supervisor.start(task)
  local pipe = io.popen("unset LD_PRELOAD; exec sh", "w")
  if not pipe then
    return nil, "the shell could not be started"
  end
  pipe:write(supervisor.script(task))
  pipe:flush()
  local outcome, process, told =
    shell.read(await_answer, task.folder):match "^(%a+)\n(%d+)\n(.-)\n*$"
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
    return nil, told or "the emulated service did not start"
  end
  return { port = tonumber(told), stop = stop }
end

return supervisor
