-- What every store promises, kept by nginx's own shared memory: in real nginx, where nothing listens.

local cjson = require "cjson.safe"
local shell = require "autopilot.cli.emulate_shell"
local tools = require "autopilot.cli.emulate_tools"

local configuration = [[
%s
daemon off;
master_process off;
pid nginx.pid;
error_log error.log warn;
events {}
http {
  lua_package_path "%s/?.lua;%s/?/init.lua;%s/?.lua;;";
  lua_shared_dict autopilot 1m;
  lua_shared_dict small 40k;
  # The C module is not built for nginx's Lua everywhere, and no store needs it.
  init_by_lua_block {
    package.loaded["autopilot.core"] = {}
    contract = require "support.store_contract"
    shared_dict = require "autopilot.store.shared_dict"
  }
  init_worker_by_lua_block {
    local function try_all()
      local wrong = {}
      for _, promised in ipairs(contract) do
        ngx.shared.autopilot:flush_all()
        local ok, message = pcall(promised.promise, shared_dict "autopilot", ngx.sleep)
        if not ok then wrong[#wrong + 1] = promised.name .. ": " .. tostring(message) end
      end
      return wrong
    end
    local function fill()
      local store, failed = shared_dict(ngx.shared.small), 0
      for number = 1, 500 do
        if not store:add("key " .. number, ("x"):rep(100), 100) then failed = failed + 1 end
      end
      local added, message = store:add("huge", ("x"):rep(100000), 100)
      return { failed = failed, first = store:get "key 1", last = store:get "key 500",
        huge = tostring(added) .. ", " .. tostring(message) }
    end
    ngx.timer.at(0, function()
      local ok, result = pcall(function()
        local wrong = try_all()
        return { promises = #contract, wrong = table.concat(wrong, "; "), full = fill() }
      end)
      local file = io.open("%s/result", "w")
      file:write(require("cjson").encode(ok and result or { raised = tostring(result) }))
      file:close()
      os.exit(0)
    end)
  }
}
]]

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

describe("in nginx, a store in a shared dictionary", function()
  it("keeps every promise, and makes room when it is full", function()
    local folder = shell.read "mktemp -d":match "^[^\n]+"
    local found = assert(tools.find(folder))
    local loads = {}
    for index, module in ipairs(found.modules) do
      loads[index] = ('load_module "%s";'):format(module)
    end
    local lua, spec = found.lua_folder, shell.read "cd spec && pwd":match "^[^\n]+"
    write(
      folder .. "/nginx.conf",
      configuration:format(table.concat(loads, "\n"), lua, lua, spec, folder)
    )
    local said = shell.read('timeout 30 "$1" -p "$2/" -c "$2/nginx.conf" 2>&1', found.nginx, folder)
    local log = shell.read('cat "$1/error.log"', folder)
    local result = cjson.decode(shell.read('cat "$1/result"', folder))
    shell.read('rm -r "$1"', folder)
    local promises = #require "support.store_contract"
    assert.same({
      promises = promises,
      wrong = "",
      full = { failed = 0, last = ("x"):rep(100), huge = "nil, no memory" },
    }, result, said .. log)
  end)
end)
