-- The contract of stores, in real nginx: its own shared memory, and Redis over its sockets.

local certificates = require "support.certificates"
local cjson = require "cjson.safe"
local database_server = require "support.database_server"
local name_server = require "support.name_server"
local nginx_configuration = require "support.nginx_configuration"
local nginx_world = require "support.nginx_world"

local obstacle = nginx_world.obstacle()

local configuration = [[
  resolver 127.0.0.1:$NAMES ipv6=off;
  lua_ssl_trusted_certificate $TRUSTED;
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
        ngx.shared.autopilot:flush_all()
        local random = require "support.seeded_random".new "STORE_SEED"
        local ok, message = pcall(contract.history, shared_dict "autopilot", random)
        broken.history = not ok and tostring(message) or nil
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
        ngx.print(json.encode { kept = kept, broken = broken, refused = refused, away = away })
      }
    }
    location = /tls {
      content_by_lua_block {
        local _, message = require "autopilot.store.redis" { url = ngx.var.args }:set("a", "1", 60)
        ngx.print(message or "stored")
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

  local server, redis, names, certificate
  local redis_obstacle = database_server.obstacle "Redis"

  setup(function()
    redis = not redis_obstacle and database_server.start "Redis" or nil
    names, certificate = name_server(), certificates.make()
    local filled = configuration:gsub("%$NAMES", names.port):gsub("%$TRUSTED", certificate.ca)
    server = nginx_world.start { files = { ["nginx.conf"] = nginx_configuration(filled) } }
  end)

  teardown(function()
    server:stop()
    names:close()
    certificates.remove(certificate)
    if redis then
      redis:remove()
    end
  end)

  local function result_of(path)
    return cjson.decode(server:get(path).body)
  end

  it("in Redis fulfils the contract, several at once, each in its own database", function()
    if not redis then
      return pending(redis_obstacle)
    end
    local result = result_of("/redis?" .. redis:options().url)
    assert.same({}, result.broken, server:log())
    assert.equal(3 * #require "support.store_contract", result.kept)
    assert.truthy(result.refused:find("refuses the user or the password", 1, true), result.refused)
    assert.truthy(result.away:find("^Redis: .*refused"), result.away)
    assert.same({}, server:complaints { "111: Connection refused", "lua ssl certificate" })
  end)

  it("in Redis over TLS accepts a server only with the server's own certificate", function()
    if not redis then
      return pending(redis_obstacle)
    end
    for _, name in ipairs { "good", "wrong_host", "expired", "untrusted" } do
      local tls = { certificate = certificate[name], key = certificate.key, ca = certificate.ca }
      local protected = database_server.start("Redis", tls)
      local host = name:gsub("_", "-") .. ".example.test"
      local url = protected:options().url:gsub("127%.0%.0%.1", host)
      local call = server:send("GET", "/tls?" .. url)
      assert.equal(host, names:answer_one())
      local said = call:answer().body
      local is_refused = said:find "^Redis: .*certificate" or said:find "^Redis: the TLS handshake"
      assert.equal(name == "good", said == "stored")
      assert.truthy(said == "stored" or is_refused, said)
      protected:remove()
    end
    assert.equal(3, select(2, server:log():gsub("lua ssl certificate", "")), server:log())
  end)

  it("in a shared dictionary fulfils the contract", function()
    local promises = #require "support.store_contract"
    assert.same({ kept = promises, broken = {} }, result_of "/promises", server:log())
  end)

  it("in a shared dictionary makes room when it is full", function()
    local expected = { failed = 0, last = ("x"):rep(100), huge = "nil, no memory" }
    assert.same(expected, result_of "/full", server:log())
  end)
end)
