-- Shared knowledge of the workers of real nginx: many calls for one tenant, one request.

local await = require "support.await"
local cjson = require "cjson.safe"
local nginx_configuration = require "support.nginx_configuration"
local nginx_world = require "support.nginx_world"
local openresty_world = require "support.openresty_world"

local obstacle = nginx_world.obstacle()

local shared_tokens = [[
  lua_shared_dict shared 1m;
  lua_shared_dict fetched 1m;
  init_by_lua_block {
    local autopilot = require "autopilot.openresty"
    provide = autopilot.token.cached(function(ask)
      local count = ngx.shared.fetched:incr("count", 1, 0)
      ask.sleep(0.5)
      return "token-" .. count, 3600
    end, {
      store = autopilot.store.shared_dict "shared",
      identity = "app",
      encryption_key = ("made up "):rep(4),
    })
  }
  server {
    listen 127.0.0.1:$PORT backlog=1024 reuseport;
    location = /token {
      content_by_lua_block {
        local token = provide { tenant = "one.example", sleep = ngx.sleep, now = ngx.now }
        ngx.print(token, " ", ngx.shared.fetched:get "count")
      }
    }
    location = /seen {
      content_by_lua_block {
        for _, key in ipairs(ngx.shared.shared:get_keys(0)) do
          ngx.print(key, "=", ngx.shared.shared:get(key), ";")
        end
      }
    }
  }
]]

--- Sends that many calls at once for the tenant.
local function begin_calls(world, token, count)
  local calls = {}
  for index = 1, count do
    calls[index] = world:begin("shared", "deadline=60&token=" .. token)
  end
  return calls
end

--- How often each outcome came, and how many workers answered.
local function outcomes_of(calls)
  local outcomes, workers, count = {}, {}, 0
  for _, call in ipairs(calls) do
    local body = cjson.decode(call:answer().body) or { outcome = "none" }
    outcomes[body.outcome] = (outcomes[body.outcome] or 0) + 1
    if body.worker and not workers[body.worker] then
      workers[body.worker], count = true, count + 1
    end
  end
  return outcomes, count
end

describe("workers that share a store", function()
  if obstacle then
    return pending(obstacle)
  end

  for _, driver in ipairs { "thread", "polling" } do
    describe("with the driver " .. driver, function()
      local world

      before_each(function()
        world = openresty_world.start { driver = driver, workers = 2 }
      end)

      after_each(function()
        world:stop()
      end)

      it("post once for 60 simultaneous calls, which all get the report", function()
        local calls = begin_calls(world, "held&total=60", 60)
        await("all calls", function()
          return world:run("notes").begun == 60
        end)
        world.upstream:release()
        local outcomes, workers = outcomes_of(calls)
        assert.equal(2, workers)
        assert.same({ started = 60 }, outcomes)
        assert.equal(1, world.upstream:counts().requests)
        assert.same({}, world.server:complaints())
      end)

      it("respect the cooldown after a reload", function()
        assert.same({ started = 1 }, (outcomes_of(begin_calls(world, "answer-0", 1))))
        world.server:reload()
        assert.same({ cooldown = 20 }, (outcomes_of(begin_calls(world, "answer-0", 20))))
        assert.equal(1, world.upstream:counts().requests)
        assert.same({}, world.server:complaints())
      end)
    end)
  end

  it("fetch one token for all, and store it encrypted", function()
    local configuration = nginx_configuration(shared_tokens, { workers = 2 })
    local server = nginx_world.start { files = { ["nginx.conf"] = configuration } }
    local calls, answers = {}, {}
    for index = 1, 40 do
      calls[index] = server:send("GET", "/token")
    end
    for _, call in ipairs(calls) do
      local body = call:answer().body
      answers[body] = (answers[body] or 0) + 1
    end
    local seen, complaints = server:get("/seen").body, server:complaints()
    server:stop()
    assert.same({ ["token-1 1"] = 40 }, answers)
    assert.is_truthy(seen:find("autopilot:2:token:3:appone.example ", 1, true))
    assert.is_nil(seen:find("token-1", 1, true))
    assert.same({}, complaints)
  end)
end)
