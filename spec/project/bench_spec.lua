-- What `make bench` checks before it measures anything for minutes. That does not depend on the Lua of the specs:
-- once in a run is enough.

local shell = require "autopilot.cli.emulate.shell"

local lua = os.getenv "LUA" or "lua5.4"
local is_first = not os.getenv "KIND" and (os.getenv "LUAS" or lua):match "%S+" == lua

local check = [[
  exec 2>&1 && set -eu && . spec/bench/common.sh && . spec/bench/figures.sh
  begin_benchmark && build_programs && start_server && check_same_request && echo the same
]]

describe("the benchmark of a call", function()
  if is_first then
    it("compares programs that send the same request", function()
      assert.equal("the same\n", shell.read(check))
    end)
  end
end)
