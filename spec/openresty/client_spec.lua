-- How a client made for OpenResty waits, and where it cannot wait, without nginx.
-- spec/openresty/nginx_spec.lua runs it in real nginx.

local fake_openresty = require "support.fake_openresty"

local world

describe("in OpenResty, waiting", function()
  after_each(function()
    world:remove()
  end)

  local phases = {
    rewrite = true,
    server_rewrite = true,
    access = true,
    precontent = true,
    content = true,
    timer = true,
    preread = true,
    ssl_cert = true,
    ssl_client_hello = true,
    ssl_session_fetch = true,
    proxy_ssl_cert = true,
    proxy_ssl_verify = true,
    init = false,
    init_worker = false,
    set = false,
    header_filter = false,
    body_filter = false,
    log = false,
    balancer = false,
    ssl_session_store = false,
    exit_worker = false,
  }
  for name, can_wait in pairs(phases) do
    it(("is %s in the phase %s"):format(can_wait and "done" or "not begun", name), function()
      world = fake_openresty.install()
      world.phase = name
      local obstacle, message = world:call(require("autopilot.openresty.phase").obstacle)
      assert.equal(not can_wait and "PHASE" or nil, obstacle)
      assert.equal(not can_wait, message ~= nil and message:find(name, 1, true) ~= nil)
    end)
  end

  if rawget(coroutine, "isyieldable") then
    it("is not begun inside a C function", function()
      world = fake_openresty.install()
      local phase = require "autopilot.openresty.phase"
      local seen
      world:call(function()
        table.sort({ 2, 1 }, function(a, b)
          seen = phase.obstacle()
          return a < b
        end)
      end)
      assert.equal("C_BOUNDARY", seen)
    end)
  end
end)

describe("where there are no light threads", function()
  before_each(function()
    world = fake_openresty.install()
    package.loaded["ngx"] = nil
  end)
  after_each(function()
    rawset(_G, "ngx", nil)
    world:remove()
  end)

  for why, global in pairs {
    ["ngx.run_worker_thread has no light threads"] = { config = {} },
    ["this is not nginx"] = false,
  } do
    it(("loading the module says that %s, each time"):format(why), function()
      rawset(_G, "ngx", global or nil)
      for _ = 1, 2 do
        local is_loaded, message = pcall(require, "autopilot.openresty")
        assert.is_false(is_loaded)
        assert.equal(
          "autopilot.openresty cannot be used here: " .. why .. "; 'autopilot' can",
          message
        )
      end
    end)
  end
end)

describe("in OpenResty, a client", function()
  before_each(function()
    world = fake_openresty.install()
  end)
  after_each(function()
    world:remove()
  end)

  local function client_with(options)
    options.base_url = "http://127.0.0.1:9"
    options.tenant = "contoso"
    return require("autopilot.openresty").client(options)
  end

  for _, operation in ipairs { "sync", "status", "wait", "ensure", "doctor" } do
    it(
      ("says at once that %s cannot wait, and asks nobody for anything"):format(operation),
      function()
        local asked = 0
        local function count()
          asked = asked + 1
          error "nobody is to be asked"
        end
        local client = client_with { token = count, transport = count, sleep = count }
        world.phase = "log"
        local report, failure = world:call(client[operation], client)
        assert.is_nil(report)
        assert.equal(0, asked)
        assert.same({ operation, "unreachable", "no", "client", "contoso", false }, {
          failure.operation,
          failure.outcome,
          failure.delivered,
          failure.answered_by,
          failure.tenant,
          failure.ok,
        })
        assert.same({ "PHASE", "no" }, { failure.network.name, failure.network.delivered })
        assert.truthy(tostring(failure):find("'log'", 1, true))
        assert.truthy(failure.hint:find("ngx.timer.at", 1, true))
      end
    )
  end

  it("waits between attempts as light threads do, at least a millisecond", function()
    local autopilot = require "autopilot.openresty"
    local policy = autopilot.retry.policy { attempts = 3, base = 0, jitter = "none" }
    local client = client_with {
      token = "secret",
      retry = policy,
      recover = false,
      transport = autopilot.transport.scripted {
        { status = 503 },
        { status = 503 },
        { status = 204 },
      },
      now = function()
        return world.now
      end,
      clock = function()
        return world.now
      end,
    }
    local report = world:call(client.sync, client)
    assert.equal("started", report.outcome)
    assert.same({ 0.001, 0.001 }, world.slept)
  end)

  it("uses the caller's own sleep", function()
    local slept = {}
    local client = client_with {
      token = "secret",
      recover = false,
      transport = require "autopilot.transport.scripted" { { status = 503 }, { status = 204 } },
      sleep = function(seconds)
        slept[#slept + 1] = seconds
      end,
    }
    assert.equal("started", world:call(client.sync, client).outcome)
    assert.equal(1, #slept)
    assert.same({}, world.slept)
  end)

  it("reports mistakes at the caller's line", function()
    local autopilot = require "autopilot.openresty"
    local function here(action)
      local _, message = pcall(action)
      return message:match "^[^:]*client_spec%.lua:%d+: (.*)$" or message
    end
    assert.equal(
      "autopilot.client: unknown option 'tokn' (did you mean 'token'?)",
      here(function()
        autopilot.client { tokn = "x" }
        return nil
      end)
    )
    assert.truthy(here(function()
      autopilot.client {
        token = "x",
        base_url = "http://127.0.0.1:9",
        http = { proxy = "http://p:1" },
      }
      return nil
    end):find("^autopilot.client: option 'http.proxy'"))
    assert.truthy(here(function()
      autopilot.setup { driver = "treads" }
      return nil
    end):find("^autopilot.setup: option 'driver'"))
  end)

  it("tells a fleet's mistakes at the caller's line", function()
    local ok, message = pcall(function()
      local _ = require("autopilot.openresty").fleet { tenants = {}, client = {}, concurency = 3 }
    end)
    assert.is_false(ok)
    assert.matches("client_spec%.lua:%d+: autopilot.fleet: unknown option", message)
  end)

  it("is otherwise the same as everywhere else", function()
    local autopilot, preset = require "autopilot", require "autopilot.openresty"
    assert.equal(autopilot.token, preset.token)
    assert.equal(autopilot._VERSION, preset._VERSION)
    assert.equal(autopilot.retry.policy, preset.retry.policy)
    assert.equal(autopilot.transport.scripted, preset.transport.scripted)
    assert.is_nil(preset.no_such_thing)
  end)

  it("also sleeps for the retries of a user's function", function()
    local retry = require("autopilot.openresty").retry
    local result = world:call(function()
      return retry.run(retry.policy { base = 2, jitter = "none" }, function(attempt)
        return attempt == 2 and "done" or nil, { outcome = "unavailable" }
      end)
    end)
    assert.equal("done", result)
    assert.same({ 2 }, world.slept)
  end)
end)
