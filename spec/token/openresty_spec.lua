-- One fetch for all, in OpenResty's own scheduler: real light threads of several requests, in real nginx.

local cjson = require "cjson.safe"
local nginx_configuration = require "support.nginx_configuration"
local nginx_world = require "support.nginx_world"

local obstacle = nginx_world.obstacle()

local configuration = nginx_configuration [[
  init_by_lua_block {
    cached = require "autopilot.token.cached"
    fetches, arrived = 0, 0
    ask = { tenant = "contoso", sleep = ngx.sleep, now = ngx.now }
    -- It comes when all five requests have asked.
    provider = cached(function(asked)
      fetches = fetches + 1
      while arrived < 5 do
        asked.sleep(0.01)
      end
      asked.sleep(0.1)
      return "token-" .. fetches, 3600
    end)
  }
  server {
    listen 127.0.0.1:$PORT;
    location = /together {
      content_by_lua_block {
        local threads, tokens = {}, {}
        for index = 1, 40 do
          threads[index] = ngx.thread.spawn(provider, ask)
        end
        arrived = arrived + 1
        for _, thread in ipairs(threads) do
          local _, token = ngx.thread.wait(thread)
          tokens[tostring(token)] = (tokens[tostring(token)] or 0) + 1
        end
        ngx.print(require("cjson").encode(tokens))
      }
    }
    location = /alone {
      content_by_lua_block {
        local count = 0
        local alone = cached(function()
          count = count + 1
          ngx.sleep(0.1)
          return "alone-" .. count, 3600
        end)
        local first = ngx.thread.spawn(alone, ask)
        local second = alone(ask)
        ngx.thread.wait(first)
        ngx.print(second)
      }
    }
    location = /killed {
      content_by_lua_block {
        local count = 0
        local doomed = cached(function(asked)
          count = count + 1
          if count == 1 then asked.sleep(1000) end
          return "after-" .. count, 3600
        end)
        local first = ngx.thread.spawn(doomed, ask)
        ngx.sleep(0.01)
        ngx.thread.kill(first)
        first = nil
        collectgarbage()
        ngx.print((doomed(ask)))
      }
    }
  }
]]

describe("in OpenResty, a cached token", function()
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

  it("is fetched once for the light threads of several requests", function()
    local calls = {}
    for index = 1, 5 do
      calls[index] = server:send("GET", "/together")
    end
    for _, call in ipairs(calls) do
      assert.same({ ["token-1"] = 40 }, cjson.decode(call:answer().body), server:log())
    end
  end)

  it("is fetched once even if the sleep in the fetch does not visibly yield", function()
    assert.equal("alone-1", server:get("/alone").body, server:log())
  end)

  -- It is given up when it was collected, long before its sleep would have ended.
  it("is fetched by another light thread if the fetching one is killed", function()
    assert.equal("after-2", server:get("/killed").body, server:log())
  end)
end)
