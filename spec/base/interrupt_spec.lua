-- The C module's functions for interrupts, and for files.

local core = require "autopilot.core"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local preloaded = require "support.preloaded"
local shell = require "autopilot.cli.emulate.shell"

-- Not by os.execute, which ignores interrupts while it runs.
local function interrupt()
  io.popen(("kill -INT %d"):format(core.process_id())):read "*a"
end

--- Runs a script in a process of its own: what it prints, and its exit code.
local function output_of(script, redirection, argument)
  local path, remove = files.temporary(script)
  local interpreter = shell.quote(emulated_service.interpreter())
  local line = ("%s %s %s %s; echo $?"):format(interpreter, path, argument or "", redirection)
  local pipe = io.popen(line)
  local output = pipe:read "*a"
  pipe:close()
  remove()
  return output
end

describe("an interrupt of the user", function()
  after_each(core.release_interrupt)

  it("is only noted, once noting has begun", function()
    assert.is_true(core.note_interrupt())
    assert.is_false(core.was_interrupted())
    interrupt()
    assert.is_true(core.was_interrupted())
  end)

  it("is forgotten when noting begins again", function()
    core.note_interrupt()
    interrupt()
    core.note_interrupt()
    assert.is_false(core.was_interrupted())
    interrupt()
    assert.is_true(core.was_interrupted())
  end)

  it("ends the process again, as before, once noting has stopped", function()
    local script = [[
      local core = require "autopilot.core"
      core.note_interrupt()
      core.note_interrupt()
      core.release_interrupt()
      core.release_interrupt()
      io.popen(("kill -INT %d"):format(core.process_id())):read "*a"
      for _ = 1, 100 do core.sleep(0.1) end
      print "went on"
    ]]
    local output = output_of(script, "2>&1")
    assert.is_nil(output:find "went on")
    assert.truthy(output:find "interrupted!") -- what the interpreter itself makes of it
  end)

  it("ends a sleep in a coroutine, and what would follow it there", function()
    if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then
      return -- does not let a coroutine know
    end
    local script = [[
      local core = require "autopilot.core"
      local form = "(sleep 0.2; kill -INT %d) >/dev/null 2>&1 &"
      os.execute(form:format(core.process_id()))
      coroutine.wrap(function()
        core.sleep(60)
        print "went on"
      end)()
    ]]
    local output = output_of(script, "2>&1")
    assert.is_nil(output:find "went on")
    assert.truthy(output:find "interrupted!")
  end)

  it("ends the process when it is the second", function()
    local script = [[
      local core = require "autopilot.core"
      core.note_interrupt()
      local function interrupt()
        io.popen(("kill -INT %d"):format(core.process_id())):read "*a"
      end
      interrupt()
      print((core.was_interrupted()))
      io.stdout:flush()
      interrupt()
      print "went on"
    ]]
    assert.equal("true\n130\n", output_of(script, "2>/dev/null"))
  end)

  it("may be SIGTERM, which the system sends before it kills", function()
    local script = [[
      local core = require "autopilot.core"
      local function send(signal)
        io.popen(("kill -%s %d"):format(signal, core.process_id())):read "*a"
      end
      core.note_interrupt()
      send "INT"
      print(core.was_interrupted())
      core.note_interrupt()
      print(core.was_interrupted())
      send "TERM"
      print(core.was_interrupted())
      io.stdout:flush()
      send(arg[1])
      print "went on"
    ]]
    for signal, code in pairs { INT = 130, TERM = 143 } do
      local expected = ("true\tfalse\nfalse\tfalse\ntrue\ttrue\n%d\n"):format(code)
      assert.equal(expected, output_of(script, "2>/dev/null", signal))
    end
  end)

  it("may be sent as SIGTERM; the second SIGTERM ends the process", function()
    local script = [[
      local core = require "autopilot.core"
      local function terminate()
        io.popen(("kill -TERM %d"):format(core.process_id())):read "*a"
        for _ = 1, 100 do core.sleep(0.1) end
      end
      print(core.pass_on_termination(), core.was_interrupted())
      local done, message = pcall(terminate)
      print(done, message:match "interrupted!$", core.was_interrupted())
      io.stdout:flush()
      terminate()
      print "went on"
    ]]
    local expected = "true\tfalse\tfalse\nfalse\tinterrupted!\ttrue\ttrue\n143\n"
    assert.equal(expected, output_of(script, "2>/dev/null"))
  end)

  it("may be SIGTERM while a named pipe is opened, which nothing writes into", function()
    local script = [[
      local core = require "autopilot.core"
      core.pass_on_termination()
      os.execute("mkfifo " .. arg[1])
      local later = "(sleep 0.3; kill -TERM %d; sleep 20; timeout 1 sh -c ': >%s')"
      os.execute(later:format(core.process_id(), arg[1]) .. " >/dev/null 2>&1 &")
      local began = core.clock()
      local done, message = pcall(function()
        io.open(arg[1], "rb")
        for _ = 1, 100 do core.sleep(0.1) end -- where LuaJIT notices it
      end)
      print(done, message:match "interrupted!$", core.clock() - began < 15)
    ]]
    local folder, remove = files.folder()
    local output = output_of(script, "2>/dev/null", folder .. "/pipe")
    remove()
    assert.equal("false\tinterrupted!\ttrue\n0\n", output)
  end)

  it("cuts a wait short", function()
    core.note_interrupt()
    local began = core.clock()
    local kill = io.popen(("sleep 0.3; kill -INT %d"):format(core.process_id()))
    core.sleep(60)
    kill:close()
    assert.is_true(core.was_interrupted())
    assert.is_true(core.clock() - began < 50)
  end)
end)

describe("core.file_kind", function()
  local function kind_and_size(...)
    local kind, size = core.file_kind(...)
    return kind, size
  end

  it("tells the kind of file under a name, and its size", function()
    local folder, remove = files.folder()
    local path = folder .. "/file"
    files.write(path, ("x"):rep(12345))
    assert.same({ "file", 12345 }, { kind_and_size(path) })
    assert.is_nil(core.file_kind(folder .. "/none"))
    assert.same({ "folder" }, { core.file_kind(folder) })
    assert.same({ "device" }, { core.file_kind "/dev/null" })
    os.execute(("cd '%s' && mkfifo pipe && ln -s file link"):format(folder))
    assert.equal("pipe", core.file_kind(folder .. "/pipe"))
    assert.same({ "link" }, { core.file_kind(folder .. "/link") })
    assert.same({ "file", 12345 }, { kind_and_size(folder .. "/link", true) })
    remove()
  end)
end)

describe("a sleep", function()
  it("lasts as long as it is to, though signals arrive that a program handles", function()
    local folder, library = preloaded.build [[
      #include <signal.h>
      #include <sys/time.h>
      static void handle(int number) {}
      __attribute__((constructor)) static void start(void) {
          struct sigaction action = {.sa_handler = handle};
          struct itimerval often = {{0, 20000}, {0, 20000}};
          sigaction(SIGALRM, &action, NULL);
          setitimer(ITIMER_REAL, &often, NULL);
      }
    ]]
    local program = [[
      local core = require "autopilot.core"
      local began = core.clock()
      core.sleep(0.3)
      print(core.clock() - began >= 0.3)
    ]]
    local output = preloaded.run({ LD_PRELOAD = library }, program)
    preloaded.remove(folder)
    assert.equal("true\n", output)
  end)
end)
