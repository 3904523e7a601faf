local await = require "support.await"
local cjson = require "cjson.safe"
local emulate = require "autopilot.cli.emulate"
local emulated_service = require "support.emulated_service"
local shell = require "autopilot.cli.emulate.shell"

local exists = emulated_service.exists
local processes_with = emulated_service.processes_with

local settings_path = "/beta/deviceManagement/windowsAutopilotSettings"

--- Waits until the folder and every process that names it are gone, or for ten seconds.
local function is_gone_soon(folder)
  local directory, first, rest = folder:match "^(.*)/(.)([^/]*)$"
  local wait = [[
    tries=0
    while [ -e "$1/$2$3" ] || ps -A -o args= | grep -q "[$2]$3"; do
      tries=$((tries + 1))
      [ $tries -lt 500 ] || exit
      sleep 0.02
    done
    echo gone
  ]]
  return shell.read(wait, directory, first, rest) == "gone\n"
end

--- The processes that remove the folder, and must be gone with it: nginx, and the supervisor that has started it.
local own_processes = [[
  nginx=$(cat "$1/nginx.pid")
  echo "$nginx" $(ps -o ppid= -p "$nginx")
]]

describe("the end of the emulated service", function()
  it("follows stop, which removes everything and may be called again", function()
    local service = emulated_service.start()
    service.stop()
    assert.is_false(exists(service.folder))
    assert.equal("", processes_with(service.folder))
    service.stop()
  end)

  it("follows stop even if another child still holds the pipe", function()
    local service = emulated_service.start()
    local note = os.tmpname()
    os.execute(("sleep 60 & echo $! >%s"):format(note))
    service.stop()
    assert.is_false(exists(service.folder))
    local end_child = [[
      child=$(cat "$1")
      ps -o stat= -p "$child"
      kill "$child"
      rm "$1"
    ]]
    assert.matches("^[^Z]", shell.read(end_child, note)) -- it was alive all the time
  end)

  it("follows the end of nginx", function()
    local service = emulated_service.start()
    shell.read('kill "$(cat "$1/nginx.pid")"', service.folder)
    assert.is_true(is_gone_soon(service.folder))
    service.stop()
  end)

  local function are_gone_soon(processes)
    local wait = [[
      for process in $1; do
        tries=0
        while kill -0 "$process" 2>/dev/null; do
          case $(ps -o stat= -p "$process") in Z*) break ;; esac
          tries=$((tries + 1))
          [ $tries -lt 500 ] || exit
          sleep 0.02
        done
      done
      echo gone
    ]]
    return shell.read(wait, processes) == "gone\n"
  end

  local kills = {
    ["nginx"] = "kill -KILL $nginx",
    ["the supervisor"] = "kill -KILL $supervisor",
    ["both at once, and stop"] = "kill -KILL $supervisor $nginx",
  }
  for what, kill in pairs(kills) do
    it("leaves nothing behind after SIGKILL of " .. what, function()
      local service = emulated_service.start()
      local processes = shell.read(own_processes, service.folder)
      assert.equal(2, select(2, processes:gsub("%d+", "")))
      shell.read("read -r nginx supervisor <<end\n$1\nend\n" .. kill, processes)
      if what:find "stop" then
        service.stop()
      end
      assert.is_true(is_gone_soon(service.folder))
      assert.is_true(are_gone_soon(processes))
      service.stop()
    end)
  end

  it("removes the folder even if no process notices the end of nginx", function()
    local service = emulated_service.start()
    local nginx, supervisor = shell.read(own_processes, service.folder):match "(%d+)%s+(%d+)"
    -- The supervisor is killed first, or it would remove the folder. A process that `sleep` does not reap takes the
    -- place of nginx.
    local replace_by_zombie = [[
      kill -KILL $3 $2
      rm "$1/nginx.process"
      sh -c '(until grep -q sleep /proc/$$/comm; do sleep 0.02; done) &
        echo $! >"$1/nginx.process"; exec sleep 60' sh "$1" >/dev/null 2>&1 &
      echo $!
      tries=0
      until [ -s "$1/nginx.process" ] || [ $tries -gt 500 ]; do
        sleep 0.02
        tries=$((tries + 1))
      done
    ]]
    local parent = shell.read(replace_by_zombie, service.folder, nginx, supervisor)
    service.stop()
    shell.read('kill "$1"', parent:match "%d+")
    assert.is_true(is_gone_soon(service.folder))
  end)

  it("needs no third process", function()
    local service = emulated_service.start()
    local children = shell.read(
      [[
      supervisor=$(ps -o ppid= -p "$(cat "$1/nginx.pid")" | tr -d " ")
      ps -A -o pid=,ppid= | awk -v p="$supervisor" '$2 == p { print $1 }'
      cat "$1/nginx.pid"
    ]],
      service.folder
    )
    service.stop()
    assert.matches("^(%d+)\n%1\n$", children)
  end)

  it("follows the loss of the last reference", function()
    local folder = emulated_service.start().folder
    collectgarbage()
    collectgarbage()
    assert.is_true(is_gone_soon(folder))
  end)
end)

describe("autopilot.cli.emulate.run", function()
  local interpreter = emulated_service.interpreter()

  --- Runs it in its own process, which ignores SIGPIPE, as one with luasocket does. Returns what it has printed up to
  -- the last line, its process id, and a function that reads the rest, up to the end of everything it has started.
  local function run(options, last_line, runner)
    local form = 'io.stdout:setvbuf "line" require("autopilot.cli.emulate").run({ %s }, print) '
    local program = (form .. 'print "returned"'):format(options)
    local line = [[trap '' PIPE; echo $$; export LUA_CPATH="$3"; exec %s "$1" -e "$2" 2>&1]]
    line = line:format(runner or "")
    local cpath = emulated_service.plain_cpath()
    local pipe = io.popen(shell.command(line, interpreter, program, cpath), "r")
    local process = pipe:read "*l"
    local lines = {}
    repeat
      lines[#lines + 1] = pipe:read "*l"
    until not lines[#lines] or lines[#lines]:match(last_line)
    return lines,
      process,
      function()
        local rest = pipe:read "*a"
        pipe:close()
        return rest
      end
  end

  it("prints lines with which a shell can use the service", function()
    local options = "public = true, identity = 'imds'"
    local lines, process, finish = run(options, "^export AZURE_CLIENT_SECRET=")
    local use = [[
      eval "$1"
      printf '%s\n' "$AZURE_TENANT_ID" "$AZURE_CLIENT_ID" "$AZURE_CLIENT_SECRET" \
        "${AZURE_AUTHORITY_HOST%/}" "$AUTOPILOT_BASE_URL" "$AZURE_POD_IDENTITY_AUTHORITY_HOST"
      curl -sS --cacert "$AUTOPILOT_CA_FILE" -H "Authorization: Bearer $AUTOPILOT_TOKEN" \
        "$AUTOPILOT_BASE_URL$2"
    ]]
    local output = shell.read(use, table.concat(lines, "\n"), settings_path)
    shell.read('kill "$1"', process)
    assert.equal("", finish())
    local tenant, client, secret, authority, url, identity, record =
      output:match "^(%S+)\n(%S+)\n(%S+)\n(%S+)\n(%S+)\n(%S+)\n({.*)$"
    for _, id in ipairs { tenant, client } do
      assert.matches("^%x+%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x+$", id)
    end
    assert.equal(40, #secret)
    assert.matches("^https://localhost:%d+$", url)
    assert.equal(url, authority)
    assert.equal(url, identity)
    assert.matches("^# .*/emulator/approve", lines[2])
    assert.equal("unknown", cjson.decode(record).syncStatus)
  end)

  it("prints one JSON object on request", function()
    local lines, process, finish = run("json = true", ".")
    shell.read('kill "$1"', process)
    finish()
    local told = cjson.decode(lines[1])
    assert.matches("^https://localhost:%d+$", told.base_url)
    assert.matches("/ca%.pem$", told.ca_file)
    for _, name in ipairs { "token", "tenant", "client_id", "client_secret", "authority" } do
      assert.equal("string", type(told[name]))
    end
  end)

  for _, signal in ipairs { "INT", "TERM", "HUP", "KILL" } do
    it("leaves no process and no folder behind after SIG" .. signal, function()
      -- As under nohup: what a process inherits as ignored, it goes on ignoring.
      if signal == "HUP" and shell.read "kill -HUP $$; echo ignored" ~= "" then
        return pending "SIGHUP is ignored here"
      end
      local lines, process, finish = run("json = true", ".")
      local folder = cjson.decode(lines[1]).ca_file:match "^(.*)/ca%.pem$"
      assert.is_true(exists(folder))
      shell.read('kill -"$1" "$2"', signal, process)
      assert.equal(signal == "INT" and "returned\n" or "", finish())
      assert.is_true(is_gone_soon(folder))
    end)
  end

  it("says nothing more when it is killed, also while its folder still exists", function()
    local lines, process, finish = run("json = true", ".")
    local folder = cjson.decode(lines[1]).ca_file:match "^(.*)/ca%.pem$"
    local removers = shell.read(own_processes, folder)
    local function signal_both(name)
      shell.read("kill -s $1 $2", name, removers)
    end
    await("it watches the folder", function()
      return select(2, shell.read('ps -o pid= --ppid "$1"', process):gsub("%d+", "")) == 2
    end)
    signal_both "STOP" -- they would remove the folder
    shell.read('kill -KILL "$1"', process)
    local rest = finish()
    signal_both "CONT"
    assert.equal("", rest)
    assert.is_true(is_gone_soon(folder))
  end)

  it("leaves nothing behind after SIGKILL of its whole process group", function()
    if shell.read "command -v setsid" == "" then
      pending "this machine has no setsid"
    end
    local lines, process, finish = run("json = true", ".", "setsid")
    local folder = cjson.decode(lines[1]).ca_file:match "^(.*)/ca%.pem$"
    shell.read('kill -s KILL -- "-$1"', process)
    assert.equal("", finish())
    assert.is_true(is_gone_soon(folder))
  end)

  for what, kill in pairs {
    ["the service ends by itself"] = 'kill "$(cat "$1/nginx.pid")"',
    ["the supervisor is killed"] = 'kill -KILL "$(cat "$1/supervisor.pid")"',
  } do
    it("returns, and leaves nothing behind, when " .. what, function()
      local folder
      local ended = emulate.run({ json = true }, function(line)
        folder = cjson.decode(line).ca_file:match "^(.*)/ca%.pem$"
        shell.read(kill, folder)
      end)
      assert.is_true(ended)
      assert.is_true(is_gone_soon(folder))
    end)
  end

  it("ends the service when a line is lost, which says how to use it", function()
    local folder
    local ended = emulate.run({ json = true }, function(line)
      folder = cjson.decode(line).ca_file:match "^(.*)/ca%.pem$"
      return true
    end)
    assert.is_true(ended)
    assert.is_false(exists(folder))
  end)

  it("ends the service when printing fails", function()
    local folder
    assert.has_error(function()
      emulate.run({ json = true }, function(line)
        folder = cjson.decode(line).ca_file:match "^(.*)/ca%.pem$"
        error("disk full", 0)
      end)
    end, "disk full")
    assert.is_false(exists(folder))
  end)
end)
