-- A process whose memory is limited.

local emulated_service = require "support.emulated_service"
local files = require "support.files"
local shell = require "autopilot.cli.emulate.shell"

-- Uses up the memory beside a long body, so that there is none for a copy of it.
local script = [[
local core = require "autopilot.core"
local megabyte = 1024 * 1024
local body, others = ("x"):rep(32 * megabyte), {}
while #others < 1000 and pcall(function()
  others[#others + 1] = ("y"):rep(megabyte + #others)
end) do
end
for _ = 1, 8 do
  others[#others] = nil
end
collectgarbage()
print(pcall(core.request, { method = "POST", url = "https://localhost/", body = body }))
collectgarbage()
print "goes on"
]]

describe("a process without memory for the body of a request", function()
  it("raises that, and goes on", function()
    local path, remove = files.temporary(script)
    local limited = ("ulimit -v 200000; exec %s %s 2>&1"):format(
      shell.quote(emulated_service.interpreter()),
      path
    )
    local cpath = shell.quote(emulated_service.plain_cpath())
    -- A shell with the sanitizers in it would itself have too little memory.
    local line = ("unset LD_PRELOAD; LUA_CPATH=%s exec sh -c %s"):format(
      cpath,
      shell.quote(limited)
    )
    local pipe = assert(io.popen(line))
    assert.equal("false\trequest: not enough memory\ngoes on\n", pipe:read "*a")
    pipe:close()
    remove()
  end)
end)
