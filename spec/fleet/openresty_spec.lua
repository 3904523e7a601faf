-- A fleet in real nginx: one light thread for all tenants, and the worker goes on meanwhile.

local nginx_world = require "support.nginx_world"
local openresty_world = require "support.openresty_world"

local obstacle = nginx_world.obstacle()

describe("a fleet in nginx", function()
  if obstacle then
    return pending(obstacle)
  end

  for _, http_version in ipairs { "1.1", "2" } do
    it("runs many tenants in one light thread, over HTTP/" .. http_version, function()
      local world = openresty_world.start { http_version = http_version }
      local is_fine, message = pcall(function()
        local call = world:begin("fleet", "token=held&count=200&concurrency=100")
        world:await_arrivals(100)
        assert.equal("alive", world.server:get("/alive").body)
        world.upstream:release()
        local answer = call:answer()
        assert.equal(200, answer.status)
        local summary = require("cjson.safe").decode(answer.body)
        assert.same({ started = 200 }, summary.by_outcome)
        assert.same({}, world.server:complaints())
      end)
      world:stop()
      assert(is_fine, message)
    end)
  end

  it("runs again in other light threads, when those of its first run have ended", function()
    local world = openresty_world.start { http_version = "1.1" }
    local is_fine, message = pcall(function()
      for _ = 1, 5 do
        local answer =
          world:begin("kept_fleet", "token=answer-0.01&count=20&concurrency=10"):answer()
        assert.same({ started = 20 }, require("cjson.safe").decode(answer.body).by_outcome)
      end
      assert.same({}, world.server:complaints())
    end)
    world:stop()
    assert(is_fine, message)
  end)
end)
