-- What every store promises, kept by nginx's own shared memory, in real nginx.

local cjson = require "cjson.safe"
local nginx_configuration = require "support.nginx_configuration"
local nginx_world = require "support.nginx_world"

local obstacle = nginx_world.obstacle()

local configuration = nginx_configuration [[
  lua_shared_dict autopilot 1m;
  lua_shared_dict small 40k;
  init_by_lua_block {
    contract = require "support.store_contract"
    json = require "cjson"
    shared_dict = require "autopilot.store.shared_dict"
  }
  server {
    listen 127.0.0.1:$PORT;
    location = /promises {
      content_by_lua_block {
        local kept, broken = 0, {}
        for _, promised in ipairs(contract) do
          ngx.shared.autopilot:flush_all()
          local ok, message = pcall(promised.promise, shared_dict "autopilot", ngx.sleep)
          kept = kept + (ok and 1 or 0)
          if not ok then broken[promised.name] = tostring(message) end
        end
        ngx.print(json.encode { kept = kept, broken = broken })
      }
    }
    location = /full {
      content_by_lua_block {
        local store, failed = shared_dict(ngx.shared.small), 0
        for number = 1, 500 do
          if not store:add("key " .. number, ("x"):rep(100), 100) then failed = failed + 1 end
        end
        local added, message = store:add("huge", ("x"):rep(100000), 100)
        ngx.print(json.encode { failed = failed, first = store:get "key 1",
          last = store:get "key 500", huge = tostring(added) .. ", " .. tostring(message) })
      }
    }
  }
]]

describe("in nginx, a store in a shared dictionary", function()
  if obstacle then
    return pending(obstacle)
  end

  local server

  setup(function()
    server = nginx_world.start { files = { ["nginx.conf"] = configuration } }
  end)

  teardown(function()
    server:stop()
  end)

  local function result_of(path)
    return cjson.decode(server:get(path).body)
  end

  it("keeps every promise", function()
    local promises = #require "support.store_contract"
    assert.same({ kept = promises, broken = {} }, result_of "/promises", server:log())
  end)

  it("makes room when it is full", function()
    local expected = { failed = 0, last = ("x"):rep(100), huge = "nil, no memory" }
    assert.same(expected, result_of "/full", server:log())
  end)
end)
