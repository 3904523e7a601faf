-- What every store promises, kept in real nginx by its own shared memory, and by Redis over its sockets.

local cjson = require "cjson.safe"
local database_server = require "support.database_server"
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
    location = /redis {
      content_by_lua_block {
        local redis = require "autopilot.store.redis"
        local kept, broken, threads = 0, {}, {}
        for number = 1, 3 do
          local store = redis { url = ngx.var.args .. "/" .. number }
          threads[number] = ngx.thread.spawn(function()
            for _, promised in ipairs(contract) do
              local ok, message = pcall(promised.promise, store, ngx.sleep)
              kept = kept + (ok and 1 or 0)
              if not ok then broken[promised.name] = tostring(message) end
            end
          end)
        end
        for _, thread in ipairs(threads) do ngx.thread.wait(thread) end
        local _, refused = redis { url = ngx.var.args, password = "wrong" }:get "a"
        local _, away = redis { url = "redis://127.0.0.1:1" }:get "a"
        local _, tls = redis { url = "rediss://127.0.0.1:1" }:get "a"
        ngx.print(json.encode {
          kept = kept, broken = broken, refused = refused, away = away, tls = tls,
        })
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

describe("in nginx, a store", function()
  if obstacle then
    return pending(obstacle)
  end

  local server, redis
  local redis_obstacle = database_server.obstacle "Redis"

  setup(function()
    redis = not redis_obstacle and database_server.start "Redis" or nil
    server = nginx_world.start { files = { ["nginx.conf"] = configuration } }
  end)

  teardown(function()
    server:stop()
    if redis then
      redis:remove()
    end
  end)

  local function result_of(path)
    return cjson.decode(server:get(path).body)
  end

  it("in Redis keeps every promise, several at once, each in its own database", function()
    if not redis then
      return pending(redis_obstacle)
    end
    local result = result_of("/redis?" .. redis:options().url)
    assert.same({}, result.broken, server:log())
    assert.equal(3 * #require "support.store_contract", result.kept)
    assert.truthy(result.refused:find("refuses the user or the password", 1, true), result.refused)
    assert.truthy(result.away:find("^Redis: .*refused"), result.away)
    -- What it says of TLS depends on the version of lua-resty-redis.
    assert.is_true(result.tls:find "refused" ~= nil or result.tls:find "0.28 or later" ~= nil)
    assert.same({}, server:complaints { "111: Connection refused" })
  end)

  it("in a shared dictionary keeps every promise", function()
    local promises = #require "support.store_contract"
    assert.same({ kept = promises, broken = {} }, result_of "/promises", server:log())
  end)

  it("in a shared dictionary makes room when it is full", function()
    local expected = { failed = 0, last = ("x"):rep(100), huge = "nil, no memory" }
    assert.same(expected, result_of "/full", server:log())
  end)
end)
