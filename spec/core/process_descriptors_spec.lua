-- The library's descriptors are private: programs that the process starts do not inherit them, and what the
-- process prints does not get into a connection.

local emulated_service = require "support.emulated_service"
local files = require "support.files"
local libcurl = require "support.libcurl"
local shell = require "autopilot.cli.emulate.shell"

-- Two requests on one connection, with output in between; their results go to a file.
local printing = [[
local http = { ca_file = arg[3] }
local client = require("autopilot").client { token = arg[1], base_url = arg[2], http = http }
local outcomes = {}
for _, method in ipairs { "sync", "status" } do
  local report, failure = client[method](client)
  outcomes[#outcomes + 1] = tostring(report ~= nil) .. " " .. tostring((report or failure).status)
  for _, stream in ipairs { io.stdout, io.stderr } do
    outcomes[#outcomes + 1] = tostring((stream:write "printed\n" and stream:flush()) ~= nil)
  end
end
outcomes[#outcomes + 1] = tostring(io.read "*l")
local file = assert(io.open(arg[4], "w"))
file:write(table.concat(outcomes, ", "))
file:close()
]]

-- Lists what a child has open before anything is there, then beside connections, a set and a thread.
local listing = [[
local core = require "autopilot.core"
local list = "for each in /proc/self/fd/*; do readlink $each; done; echo"
os.execute(list)
local http = { ca_file = arg[3] }
local client = require("autopilot").client { token = arg[1], base_url = arg[2], http = http }
assert(client:sync())
local thread = core.transfer_thread and core.transfer_thread()
local set = core.transfer_set()
os.execute(list)
]]

-- Prints which signals are ignored, before and after a request.
local ignoring = [[
local function ignored()
  for line in io.lines "/proc/self/status" do
    if line:find "^SigIgn" then
      print(line)
    end
  end
end
ignored()
local http = { ca_file = arg[3] }
assert(require("autopilot").client({ token = arg[1], base_url = arg[2], http = http }):sync())
ignored()
]]

-- Sends 100 requests at once, each of which needs a connection; prints how many have an answer.
local crowding = [[
local core = require "autopilot.core"
local request = core.request {
  method = "GET",
  url = arg[2] .. "/beta/deviceManagement/windowsAutopilotSettings",
  ca_file = arg[3],
  http_version = "1.1",
  proxy = "",
}
local set, transfers, answered = core.transfer_set { concurrency = 100 }, {}, 0
for index = 1, 100 do
  transfers[index] = set:add(request, { connect = 60, total = 60, token = arg[1] })
end
while set:step(1) > 0 do
end
for _, transfer in ipairs(transfers) do
  answered = answered + (transfer:result() and 1 or 0)
end
print(answered)
]]

describe("a process that uses the library", function()
  local service, interpreter

  setup(function()
    service = emulated_service.start { duration = 0 }
    interpreter = shell.quote(emulated_service.interpreter())
  end)

  teardown(function()
    service.stop()
  end)

  before_each(function()
    service:control("POST", "reset")
  end)

  --- Runs a script with these redirections for the shell, which first runs the commands of `setting`; its output.
  local function run(script, redirections, more, setting)
    local path, remove = files.temporary(script)
    local line = ("trap '' PIPE; %s exec %s %s %s %s %s %s %s"):format(
      setting or "",
      interpreter,
      path,
      service.token,
      (service.url:gsub("localhost", "127.0.0.1")), -- a name would be looked up in a thread
      service.ca_file,
      more or "",
      redirections
    )
    local pipe = assert(io.popen(line))
    local output = pipe:read "*a"
    pipe:close()
    remove()
    return output
  end

  it("prints into no connection if its standard streams are closed", function()
    for _, redirections in ipairs { "<&- >&- 2>&-", ">&- 2>&-", "<&-", "2>&-" } do
      service:control("POST", "reset")
      local path, remove = files.temporary ""
      run(printing, redirections, path)
      assert.matches("^true 204, .*, true 200, ", files.read(path), redirections)
      remove()
    end
  end)

  it("gets an error when it writes to a closed pipe", function()
    local path, remove = files.temporary ""
    run(printing, "<&- >&- 2>&-", path)
    assert.equal("true 204, false, false, true 200, false, false, nil", files.read(path))
    remove()
  end)

  it("still ignores the signals that it ignored before", function()
    if not files.read "/proc/self/status" then
      return pending "needs /proc"
    end
    local before, after = run(ignoring, "</dev/null"):match "^(SigIgn[^\n]+)\n(SigIgn[^\n]+)\n"
    assert.equal(before, after)
  end)

  it("passes no descriptors on to the programs that it starts", function()
    local before, after = run(listing, "</dev/null"):match "^(.-\n)\n(.-\n)\n"
    if not (before and before:find "/dev/null") then
      return pending "needs /proc"
    end
    local known = {}
    for name in before:gmatch "[^\n]+" do
      known[name] = true
    end
    for name in after:gmatch "[^\n]+" do
      assert.is_true(known[name] or name:find "^/proc/%d+/fd$" ~= nil, name)
    end
  end)

  it("lets requests wait for a connection if it may open only a few", function()
    if libcurl.is_between("8.10", "8.13") then
      return pending "this libcurl may open more connections than its limit"
    end
    -- The process would inherit the descriptors that earlier specs have left open.
    collectgarbage()
    collectgarbage()
    assert.equal("100\n", run(crowding, "</dev/null", nil, "ulimit -n 64;"))
  end)
end)
