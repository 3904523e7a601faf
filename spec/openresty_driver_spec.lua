-- What the OpenResty modules decide, without nginx: who steps, what a failed wait means, where nothing can
-- be waited for. spec/openresty_nginx_spec.lua runs them in real nginx.

local fake_openresty = require "support.fake_openresty"

local world

local function install(core)
  world = fake_openresty.install(core)
  return world
end

describe("in OpenResty, waiting", function()
  after_each(function()
    world:remove()
  end)

  local phases = {
    rewrite = true,
    server_rewrite = true,
    access = true,
    content = true,
    timer = true,
    preread = true,
    ssl_cert = true,
    ssl_client_hello = true,
    ssl_session_fetch = true,
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
      install()
      world.phase = name
      local obstacle, message = world:call(require("autopilot.openresty.phase").obstacle)
      assert.equal(not can_wait and "PHASE" or nil, obstacle)
      assert.equal(not can_wait, message ~= nil and message:find(name, 1, true) ~= nil)
    end)
  end

  if rawget(coroutine, "isyieldable") then
    it("is not begun inside a C function", function()
      install()
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

describe("in OpenResty, a client", function()
  before_each(function()
    install()
  end)
  after_each(function()
    world:remove()
  end)

  local function client_with(options)
    options.base_url = "http://127.0.0.1:9"
    options.tenant = "contoso"
    return require("autopilot.openresty").client(options)
  end

  for _, operation in ipairs { "sync", "status", "wait", "ensure" } do
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

  it("takes another's sleep", function()
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

  it("has mistakes told at the line that made them", function()
    local autopilot = require "autopilot.openresty"
    local function here(action)
      local _, message = pcall(action)
      return message:match "^[^:]*openresty_driver_spec%.lua:%d+: (.*)$" or message
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
    assert.truthy(here(function()
      autopilot.warm { htp = {} }
      return nil
    end):find("^autopilot.warm: unknown option 'htp'"))
  end)

  it("tells a fleet's mistakes at the caller's line", function()
    local ok, message = pcall(function()
      local _ = require("autopilot.openresty").fleet { tenants = {}, client = {}, concurency = 3 }
    end)
    assert.is_false(ok)
    assert.matches("openresty_driver_spec%.lua:%d+: autopilot.fleet: unknown option", message)
  end)

  it("is the same as everywhere else in what it does not change", function()
    local autopilot, preset = require "autopilot", require "autopilot.openresty"
    assert.equal(autopilot.token, preset.token)
    assert.equal(autopilot._VERSION, preset._VERSION)
    assert.equal(autopilot.retry.policy, preset.retry.policy)
    assert.equal(autopilot.transport.scripted, preset.transport.scripted)
    assert.is_nil(preset.no_such_thing)
  end)

  it("shares its sleep with retries of a user's own function", function()
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

describe("in OpenResty, the worker", function()
  after_each(function()
    world:remove()
  end)

  local function fake_core()
    local core = { process = 1, sets = 0, threads = 0 }
    core.process_id = function()
      return core.process
    end
    core.transfer_set = function()
      core.sets = core.sets + 1
      return {}
    end
    core.transfer_thread = function()
      core.threads = core.threads + 1
      return {
        address = function()
          return "/proc/self/fd/7"
        end,
      }
    end
    return core
  end

  it("has one driver, whoever asks and however often", function()
    local core = fake_core()
    install(core)
    local worker = require "autopilot.openresty.worker"
    assert.equal(worker.driver(), worker.driver())
    assert.same({ 1, 0 }, { core.threads, core.sets })
  end)

  it("makes nothing before it is asked, and never uses another process's", function()
    local core = fake_core()
    install(core)
    local autopilot = require "autopilot.openresty"
    autopilot.setup { driver = "thread" }
    autopilot.client { token = "secret" }
    assert.same({ 0, 0 }, { core.threads, core.sets })
    local worker = require "autopilot.openresty.worker"
    local of_the_parent = worker.driver()
    core.process = 2
    assert.not_equal(of_the_parent, worker.driver())
    assert.equal(2, core.threads)
  end)

  it("polls where there can be no thread, and says so once", function()
    local core = fake_core()
    core.transfer_thread = function()
      return nil, "no thread can be started"
    end
    install(core)
    local worker = require "autopilot.openresty.worker"
    worker.driver()
    worker.driver()
    assert.equal(1, core.sets)
    assert.same({
      "warn: autopilot: no thread can be started; transfers are polled in the event loop",
    }, world.log)
  end)

  it("polls when it is told to, and logs nothing", function()
    local core = fake_core()
    install(core)
    require("autopilot.openresty").setup { driver = "polling" }
    require("autopilot.openresty.worker").driver()
    assert.same({ 0, 1 }, { core.threads, core.sets })
    assert.same({}, world.log)
  end)
end)

describe("in OpenResty, making ready", function()
  after_each(function()
    world:remove()
  end)

  it("asks a silent port once, in a timer, without a token, and closes it", function()
    local asked, closed = {}, 0
    local curl = require "autopilot.transport.curl"
    local prepare = curl.prepare
    curl.prepare = function(http, request)
      return { url = request.url, ca_file = http.ca_file, proxy = http.proxy }
    end
    finally(function()
      curl.prepare = prepare
    end)
    install {
      silent_listener = function()
        return {
          close = function()
            closed = closed + 1
          end,
        },
          4321
      end,
    }
    package.loaded["autopilot.openresty.worker"] = {
      driver = function()
        return {
          run = function(_, prepared, connect, total, token)
            asked[#asked + 1] = { prepared.url, prepared.ca_file, prepared.proxy, token or "none" }
            assert.is_true(connect <= 1 and total <= 1)
            assert.equal(0, closed)
          end,
        }
      end,
    }
    require("autopilot.openresty").warm { http = { ca_file = "/ca.pem", proxy = "http://p:1" } }
    assert.same({}, asked)
    world:run()
    assert.same({ { "https://127.0.0.1:4321/", "/ca.pem", "", "none" } }, asked)
    assert.equal(1, closed)
  end)

  it("says in the log when there is no timer left", function()
    install()
    world.ngx.timer.at = function()
      return nil, "too many pending timers"
    end
    require("autopilot.openresty").warm()
    assert.same({ "warn: autopilot: not made ready: too many pending timers" }, world.log)
  end)
end)

describe("in OpenResty, the helper thread's driver", function()
  local calls, behaviour

  before_each(function()
    calls, behaviour = {}, { withdraw = false, byte = "+" }
    local thread = {}
    function thread.address()
      return "/proc/self/fd/7"
    end
    function thread.submit()
      calls[#calls + 1] = "submit"
      return 42
    end
    function thread.claim(_, number)
      calls[#calls + 1] = "claim " .. number
      return behaviour.transfer
    end
    function thread.withdraw(_, number)
      calls[#calls + 1] = "withdraw " .. number
      return behaviour.withdraw
    end
    install {
      transfer_thread = function()
        return thread
      end,
    }
    local socket = {}
    function socket.settimeouts(_, _, _, milliseconds)
      behaviour.patience = milliseconds
    end
    function socket.connect(_, address)
      calls[#calls + 1] = "connect " .. address
      return not behaviour.refused and 1 or nil, behaviour.refused
    end
    function socket.send(_, text)
      calls[#calls + 1] = "send " .. text
      return not behaviour.unsent and #text or nil, behaviour.unsent
    end
    function socket.receive()
      return behaviour.byte, "closed"
    end
    function socket.setkeepalive()
      calls[#calls + 1] = "keep"
    end
    function socket.close()
      calls[#calls + 1] = "close"
    end
    world.new_socket = function()
      return socket
    end
  end)
  after_each(function()
    world:remove()
  end)

  local function run()
    local driver = require("autopilot.openresty.thread").new()
    return driver:run("request", 10, 60, "token", "id", 0)
  end

  it("submits, waits and claims, and keeps the connection", function()
    behaviour.transfer = "transfer"
    assert.equal("transfer", run())
    assert.same(
      { "connect unix:/proc/self/fd/7", "submit", "send 42\n", "claim 42", "keep" },
      calls
    )
    assert.equal(70000, behaviour.patience)
  end)

  it("waits no longer than a transfer can last", function()
    behaviour.transfer = "transfer"
    require("autopilot.openresty.thread").new():run("request", 10, 1e12, "token", "id", 0)
    assert.equal(86410000, behaviour.patience)
  end)

  it("fails when the thread does not know the transfer", function()
    local transfer, failure = run()
    assert.is_nil(transfer)
    assert.same({ "unknown", "HELPER_THREAD" }, { failure.delivered, failure.name })
  end)

  it("submits nothing when the worker has no connection left", function()
    behaviour.refused = "no more connections"
    local transfer, failure = run()
    assert.is_nil(transfer)
    assert.same({ "no", 0 }, { failure.delivered, failure.sends })
    assert.same({ "connect unix:/proc/self/fd/7" }, calls)
  end)

  it("knows that nothing was sent when the transfer had not begun", function()
    behaviour.unsent, behaviour.withdraw = "broken pipe", true
    local _, failure = run()
    assert.same({ "no", 0, "HELPER_THREAD" }, { failure.delivered, failure.sends, failure.name })
    assert.same({ "withdraw 42", "close" }, { calls[#calls - 1], calls[#calls] })
  end)

  it("does not know what was sent when it had", function()
    behaviour.byte = nil
    local _, failure = run()
    assert.same({ "unknown", 1, "receive" }, { failure.delivered, failure.sends, failure.stage })
    assert.same({ "withdraw 42", "close" }, { calls[#calls - 1], calls[#calls] })
  end)
end)
