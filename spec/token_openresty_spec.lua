-- One fetch for all, in OpenResty's own scheduler: real light threads of several requests, in real
-- nginx. Nothing listens: timers, each a request of its own to OpenResty, do what is tested.

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
  lua_package_path "%s/?.lua;%s/?/init.lua;;";
  # The C module is not built for nginx's Lua everywhere; what is tested needs but this of it.
  init_by_lua_block {
    package.loaded["autopilot.core"] = {
      sleep = function() error("it would block the worker") end, clock = ngx.now, now = ngx.now,
    }
    cached = require "autopilot.token.cached"
  }
  init_worker_by_lua_block {
    local requests, fetches, tokens, done = 5, 0, {}, 0
    local provider = cached(function(ask)
      fetches = fetches + 1
      ask.sleep(0.2)
      return "token-" .. fetches, 3600
    end)
    local ask = { tenant = "contoso", sleep = ngx.sleep, now = ngx.now }
    local function alone()
      local count = 0
      local p = cached(function()
        count = count + 1
        ngx.sleep(0.1)
        return "alone-" .. count, 3600
      end)
      local first = ngx.thread.spawn(p, ask)
      local second = p(ask)
      ngx.thread.wait(first)
      return second
    end
    local function killed()
      local count = 0
      local p = cached(function(asked)
        count = count + 1
        if count == 1 then asked.sleep(1000) end
        return "after-" .. count, 3600
      end)
      local first = ngx.thread.spawn(p, ask)
      ngx.sleep(0.01)
      ngx.thread.kill(first)
      first = nil
      collectgarbage()
      return (p(ask))
    end
    local function finish()
      local result = { fetches = fetches, tokens = tokens, alone = alone(), killed = killed() }
      local file = io.open("%s/result", "w")
      file:write(require("cjson").encode(result))
      file:close()
      os.exit(0)
    end
    for _ = 1, requests do
      ngx.timer.at(0, function()
        local threads = {}
        for index = 1, 40 do
          threads[index] = ngx.thread.spawn(provider, ask)
        end
        for _, thread in ipairs(threads) do
          local _, token = ngx.thread.wait(thread)
          tokens[tostring(token)] = (tokens[tostring(token)] or 0) + 1
        end
        done = done + 1
        if done == requests then finish() end
      end)
    end
  }
}
]]

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

describe("in OpenResty, a cached token", function()
  it("is fetched once for the light threads of all, and by another if one is killed", function()
    local folder = shell.read "mktemp -d":match "^[^\n]+"
    local found = assert(tools.find(folder))
    local loads = {}
    for index, module in ipairs(found.modules) do
      loads[index] = ('load_module "%s";'):format(module)
    end
    local lua = found.lua_folder
    write(
      folder .. "/nginx.conf",
      configuration:format(table.concat(loads, "\n"), lua, lua, folder)
    )
    local said = shell.read('timeout 30 "$1" -p "$2/" -c "$2/nginx.conf" 2>&1', found.nginx, folder)
    local log = shell.read('cat "$1/error.log"', folder)
    local result = cjson.decode(shell.read('cat "$1/result"', folder))
    shell.read('rm -r "$1"', folder)
    assert.same({
      fetches = 1,
      tokens = { ["token-1"] = 200 },
      alone = "alone-1",
      -- It is given up when it was collected, long before its sleep would have ended.
      killed = "after-2",
    }, result, said .. log)
  end)
end)
