-- The command as a process: exit codes, pipes, closed streams and signals.

local await = require "support.await"
local cjson = require "cjson.safe"
local command_process = require "support.command_process"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local shell = require "autopilot.cli.emulate.shell"
local socket = require "socket"

local program, start, run = command_process.program, command_process.start, command_process.run

describe("the command, as a process", function()
  local service, env

  setup(function()
    service = emulated_service.start { duration = 0 }
    env = service:environment {
      AUTOPILOT_TOKEN = service.token,
      AZURE_TENANT_ID = service.tenant,
    }
  end)

  teardown(function()
    service.stop()
  end)

  before_each(function()
    service:control("POST", "reset")
  end)

  it("starts a sync over TLS, is refused the next one, and shows the status", function()
    local code, output, complaint = run("sync", env)
    assert.equal("", complaint)
    assert.matches("^sync [%x%-]+: started %(HTTP 204, [^\n]*%)\n$", output)
    assert.equal(0, code)

    code, output, complaint = run("sync --json", env)
    local report = cjson.decode(output)
    assert.equal("", complaint)
    assert.equal("cooldown", report.outcome)
    assert.equal(429, report.status)
    assert.equal("2", report.http_version)
    assert.equal(service.tenant, report.tenant)
    assert.equal(4, code)

    code, output, complaint = run("status", env)
    assert.equal("", complaint)
    assert.matches("\nState         completed\n", output)
    assert.matches("\nReady         no: in %d+ min[^\n]*\n$", output)
    assert.equal(0, code)
  end)

  it("ends in 130 by Ctrl-C also while it loads a module", function()
    for module, told in pairs {
      argparse = "",
      ["autopilot.token.application"] = ": no sync was asked for",
      ["autopilot.store.sql"] = ": no sync was asked for",
    } do
      local signal = [[package.preload["%s"] = function()
        io.popen("kill -INT $PPID"):close()
        for _ = 1, 1000 do end
      end]]
      local line = "AZURE_CLIENT_SECRET=made-up timeout 20 %s -e %s bin/autopilot-sync sync --auth "
        .. "secret --client-id x --tenant x --store x.db 2>&1; echo $?"
      local pipe =
        io.popen(line:format(command_process.interpreter, shell.quote(signal:format(module))), "r")
      assert.equal(("autopilot-sync: interrupted%s\n130\n"):format(told), pipe:read "*a")
      pipe:close()
    end
  end)

  it("names the package of a module that is missing, in one line", function()
    for module, package in pairs {
      ["cjson.safe"] = "install lua%-cjson",
      argparse = "install lua%-argparse",
      ["autopilot.core"] = "make install or make demo",
    } do
      local missing = [[package.preload["%s"] = function()
        error "module '%s' not found:\n\tno file"
      end]]
      local absent = missing:format(module, module)
      local line = ("%s -e %s bin/autopilot-sync sync 2>&1; echo $?"):format(
        command_process.interpreter,
        shell.quote(absent)
      )
      local pipe = io.popen(line, "r")
      local output = pipe:read "*a"
      pipe:close()
      assert.matches("^autopilot%-sync: Lua [%d.]+ has no module '[^\n]+ " .. package, output)
      assert.matches("^[^\n]+\n1\n$", output)
    end
  end)

  it("trusts only the certificate authorities of the machine or of --ca-file", function()
    local code, output = run("sync --json --attempts 1", {
      AUTOPILOT_BASE_URL = service.url,
      AUTOPILOT_TOKEN = service.token,
    })
    local report = cjson.decode(output)
    assert.equal(6, code)
    assert.equal("tls", report.network.stage)
    assert.equal("no", report.delivered)
  end)

  it("reads a token from a pipe once", function()
    for _, from in ipairs { "-", "/dev/stdin" } do
      local script = 'printf "%s\\n" "$token" | program sync --token-file ' .. from .. "; echo $?"
      local pipe = start(script, service:environment { token = service.token })
      assert.matches("started", pipe:read "*l")
      assert.equal("0", pipe:read "*l")
      pipe:close()
      service:control("POST", "reset")
    end
  end)

  it("does not wait for a second token from a pipe", function()
    local path, remove = files.temporary ""
    remove()
    local script = [[
      mkfifo "$fifo"
      timeout 60 sh -c 'echo refused >"$fifo"' & # ends though nothing opens the pipe
      timeout 20 ]] .. program .. [[sync --token-file "$fifo" 2>/dev/null
      echo $?
      rm "$fifo"
    ]]
    local pipe = start(script, service:environment { fifo = path })
    assert.equal("5", pipe:read "*l")
    pipe:close()
  end)

  it("ends in 2 for a wrong command line, without a traceback", function()
    local code, output, complaint = run("sync --tennant x", env)
    assert.equal(2, code)
    assert.equal("", output)
    assert.equal(
      "autopilot-sync: unknown option '--tennant' (did you mean '--tenant'?)\n",
      complaint
    )
  end)

  it("survives a closed output", function()
    local pipe = start("program sync 2>&1 >&-; echo $?", env)
    assert.matches("^autopilot%-sync: the output could not be written: [^\n]*$", pipe:read "*l")
    assert.equal("1", pipe:read "*l")
    pipe:close()
  end)
end)

describe("the command with standard streams that are closed", function()
  local service, env, list, remove

  setup(function()
    service = emulated_service.start { duration = 0 }
    env = service:environment {
      AZURE_CLIENT_ID = service.client_id,
      AZURE_CLIENT_SECRET = service.client_secret,
      AZURE_TENANT_ID = service.tenant,
    }
    list, remove = files.temporary "a.example\nb.example\n"
  end)

  teardown(function()
    service.stop()
    remove()
  end)

  -- A fleet prints while its sockets are open.
  local function output_and_code(args, closed)
    service:control("POST", "reset")
    local script = ("{ program %s %s; echo $? >&3; } 3>&1"):format(args, closed)
    local pipe = start(script, env)
    local text = pipe:read "*a"
    pipe:close()
    return text
  end

  it("prints nothing into a socket, and says that its output is lost", function()
    for _, closed in ipairs { "2>&1 >&-", "2>&1 >&- <&-" } do
      for _, args in ipairs { "status", "sync --json", ("fleet %s --json"):format(list) } do
        assert.equal(
          "autopilot-sync: the output could not be written: Bad file descriptor\n1\n",
          output_and_code(args, closed)
        )
      end
    end
    for _, args in ipairs { "status", "sync", ("fleet %s --json"):format(list) } do
      assert.equal("1\n", output_and_code(args, "<&- >&- 2>&-"))
    end
  end)

  it("goes on to its end when the reader of its output has gone", function()
    for args, requests in pairs { sync = 1, ["fleet " .. list .. " --json"] = 2 } do
      service:control("POST", "reset")
      local line = ("env --default-signal=PIPE %s %s 2>&3; echo $? >&3"):format(program, args)
      local pipe = start(("exec 3>&1; { %s; } | true"):format(line), env)
      assert.equal("0\n", pipe:read "*a")
      pipe:close()
      assert.equal(requests, service:control("GET", "state").requests.sync)
    end
  end)

  it("works without standard input and standard error", function()
    assert.matches("\nReady +yes\n0\n$", output_and_code("status", "<&- 2>&-"))
    assert.matches("^started +2\n.*\n0\n$", output_and_code("fleet " .. list, "<&- 2>&-"))
    assert.equal("2\n", output_and_code("sync --nonsense", "<&- >&- 2>&-"))
  end)
end)

describe("a command that a signal ends", function()
  local unsent = "autopilot-sync: interrupted: no sync was asked for"
  local said = { sync = "autopilot-sync: interrupted: the request for a sync may have been sent" }

  -- Starts a command line; gives its process and what reads its output line by line.
  local function begin(args, env)
    local pipe = start(program .. args .. " 2>&1 & echo $!; wait $!; echo $?", env)
    return pipe:read "*l", pipe
  end

  for signal, code in pairs { INT = "130", TERM = "143" } do
    it(
      ("SIG%s while it waits for an answer, ends in %s, with one line"):format(signal, code),
      function()
        for _, args in ipairs { "sync", "sync --wait --json", "status", "wait", "ensure --json" } do
          local server = assert(socket.bind("127.0.0.1", 0))
          server:settimeout(60)
          local _, port = server:getsockname()
          local process, pipe = begin(args, {
            AUTOPILOT_BASE_URL = "https://127.0.0.1:" .. port,
            AUTOPILOT_TOKEN = "good",
          })
          local connection = assert(server:accept()) -- which never answers
          shell.read('kill -"$1" "$2"', signal, process)
          assert.equal(said[args:match "^%a+"] or unsent, pipe:read "*l")
          assert.equal(code, pipe:read "*l")
          pipe:close()
          connection:close()
          server:close()
        end
      end
    )
  end

  it("SIGTERM while it sleeps, ends in 143, with one line", function()
    local service = emulated_service.start { duration = 0 }
    local env = service:environment {
      AUTOPILOT_TOKEN = service.token,
      AZURE_TENANT_ID = service.tenant,
    }
    assert.equal(0, (run("sync", env)))
    local requests = #service:control("GET", "log")
    local process, pipe = begin("ensure", env) -- which waits for the end of the cooldown
    await("a request", function()
      return #service:control("GET", "log") > requests
    end)
    shell.read('kill -TERM "$1"', process)
    assert.equal(unsent, pipe:read "*l")
    assert.equal("143", pipe:read "*l")
    pipe:close()
    service.stop()
  end)
end)

describe("the demo", function()
  local function demo(lua)
    local pipe = io.popen(("LUA=%s examples/demo.sh 2>&1; echo $?"):format(lua), "r")
    local output = pipe:read "*a"
    pipe:close()
    local folder = output:match "AUTOPILOT_CA_FILE=([^\n]*)/ca%.pem"
    assert.is_false(folder ~= nil and emulated_service.exists(folder))
    return output
  end

  it("shows its commands and their exit codes, and leaves nothing behind", function()
    local output = demo(command_process.interpreter)
    assert.matches(
      "\n%$ autopilot%-sync sync\nsync [^\n]*: started [^\n]*\nexit 0\n"
        .. "\n%$ autopilot%-sync sync\nsync [^\n]*: cooldown[^\n]*\n[^\n]*\nexit 4\n"
        .. "\n%$ autopilot%-sync status\n.*\nState         completed\n.*\nexit 0\n0\n$",
      output
    )
  end)

  it("fails loudly for an unexpected exit code, and leaves nothing behind", function()
    local lua, remove = files.temporary(
      ('#!/bin/sh\n[ "$2" = status ] && exit 9\nexec %s "$@"\n'):format(command_process.interpreter)
    )
    shell.read('chmod +x "$1"', lua)
    local output = demo(lua)
    remove()
    assert.matches(
      "\n%$ autopilot%-sync status\nexit 9\ndemo: that should have been exit 0\n1\n$",
      output
    )
  end)

  it("fails loudly when the service does not start", function()
    assert.matches("\ndemo: the emulated service did not start\n1\n$", demo "false")
  end)
end)
