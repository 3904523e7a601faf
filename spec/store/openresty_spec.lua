-- The contract of stores, in real nginx: its own shared memory, and Redis and Valkey over its sockets.

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

    -- Checks the contract for a store; adds to the number of kept promises, and to the broken ones.
    function check(store, result)
      for _, promised in ipairs(contract) do
        local ok, message = pcall(promised.promise, store, ngx.sleep)
        result.kept = result.kept + (ok and 1 or 0)
        if not ok then result.broken[promised.name] = tostring(message) end
      end
    end
  }
  server {
    listen 127.0.0.1:$PORT;
    location = /shared_dict {
      content_by_lua_block {
        local result = { kept = 0, broken = {} }
        check(shared_dict "autopilot", result)
        ngx.print(json.encode(result))
      }
    }
    location = /redis {
      content_by_lua_block {
        local redis = require "autopilot.store.redis"
        local result, threads = { kept = 0, broken = {} }, {}
        for number = 1, 3 do
          local store = redis { url = ngx.var.args .. "/" .. number }
          threads[number] = ngx.thread.spawn(check, store, result)
        end
        for _, thread in ipairs(threads) do ngx.thread.wait(thread) end
        local _
        _, result.refused = redis { url = ngx.var.args, password = "wrong" }:get "a"
        _, result.away = redis { url = "redis://127.0.0.1:1" }:get "a"
        ngx.print(json.encode(result))
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

  local server, names, certificate

  setup(function()
    names, certificate = name_server(), certificates.make()
    local filled = configuration:gsub("%$NAMES", names.port):gsub("%$TRUSTED", certificate.ca)
    local text = nginx_configuration(filled, { environment = { "STORE_SEED" } })
    server = nginx_world.start { files = { ["nginx.conf"] = text } }
  end)

  teardown(function()
    server:stop()
    names:close()
    certificates.remove(certificate)
  end)

  local function result_of(path)
    return cjson.decode(server:get(path).body)
  end

  for _, kind in ipairs { "Redis", "Valkey" } do
    it(
      ("in %s fulfils the contract, several at once, each in its own database"):format(kind),
      function()
        local missing = database_server.obstacle(kind)
        if missing then
          return pending(missing)
        end
        local redis = database_server.start(kind)
        local result = result_of("/redis?" .. redis:options().url)
        redis:remove()
        assert.same({}, result.broken, server:log())
        assert.equal(3 * #require "support.store_contract", result.kept)
        local refused, away = result.refused, result.away
        assert.truthy(refused:find("refuses the user or the password", 1, true), refused)
        assert.truthy(away:find("^Redis: .*refused"), away)
        assert.same({}, server:complaints { "111: Connection refused", "lua ssl certificate" })
      end
    )
  end

  it("in Redis over TLS accepts a server only with the server's own certificate", function()
    local missing = database_server.obstacle "Redis"
    if missing then
      return pending(missing)
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
    assert.same({ kept = promises, broken = {} }, result_of "/shared_dict", server:log())
  end)

  it("in a shared dictionary makes room when it is full", function()
    local expected = { failed = 0, last = ("x"):rep(100), huge = "nil, no memory" }
    assert.same(expected, result_of "/full", server:log())
  end)
end)
