-- A token endpoint that fails, or is out of reach, is asked again as the client's policy says: a request
-- for a token does no harm. A refusal is not repeated.

local autopilot = require "autopilot"
local curl = require "autopilot.transport.curl"
local hostile = require "support.hostile_server"
local overlay = require "support.overlay"
local token_world = require "support.token_world"

local started = { status = 204, headers = {} }
local granted = token_world.granted()
local refused = token_world.refused(401, "invalid_client", 7000215, "Invalid client secret.")

local failures = {
  { status = 503, headers = {}, body = "" },
  { status = 500, headers = {}, body = "<html>" },
  { status = 429, headers = { ["retry-after"] = "7" }, body = "" },
  { status = 400, headers = {}, body = '{"error":"temporarily_unavailable"}' },
  { network = { stage = "connect", message = "connection refused", delivered = "no" } },
  { network = { stage = "receive", message = "GOAWAY", delivered = "unknown" } },
}

--- A client whose token endpoint, and whose service, give these answers; its sleeps, and its requests.
---@param first table? the service's first answer
local function world_of(endpoint, given, first)
  local time, world = 0, { waits = {}, asked = 0, sent = 0 }
  local options = {
    tenant = "contoso.test",
    token = autopilot.token.client_secret {
      client_id = "c",
      client_secret = "s",
      getenv = function() end,
    },
    transport = function(request)
      local answer
      if request.url:find("oauth2", 1, true) then
        world.asked = world.asked + 1
        answer = endpoint[math.min(world.asked, #endpoint)]
      elseif request.method == "GET" then
        world.sent = world.sent + 1
        answer = { status = 200, headers = {}, body = '{"syncStatus":"completed"}' }
      else
        world.sent = world.sent + 1
        answer = world.sent == 1 and first or started
      end
      if answer.network then
        return nil, answer.network
      end
      return answer
    end,
    sleep = function(seconds)
      world.waits[#world.waits + 1] = seconds
      time = time + seconds
    end,
    clock = function()
      return time
    end,
    now = function()
      return 1767225600 + time
    end,
    random = function()
      return 0.5
    end,
  }
  world.client = autopilot.client(overlay(options, given))
  return world
end

describe("a token endpoint that fails once", function()
  it("is asked again, and no request to Graph is sent without a token", function()
    for _, failure in ipairs(failures) do
      for _, operation in ipairs { "sync", "status" } do
        local world = world_of { failure, granted }
        local report = world.client[operation](world.client)
        assert.is_true(report.ok)
        assert.is_nil(report.is_transient)
        assert.same({ 2, 1, 1 }, { world.asked, world.sent, #world.waits })
      end
    end
  end)

  it("has its Retry-After obeyed, or a default wait", function()
    local world = world_of { failures[3], granted }
    local report = world.client:sync()
    assert.is_true(world.waits[1] >= 7)
    assert.equal("token_error", report.attempts[1].outcome)
    assert.equal("started", report.attempts[2].outcome)
    assert.equal("no", report.attempts[1].delivered)
    world = world_of { failures[1], granted }
    world.client:sync()
    assert.is_true(world.waits[1] >= 5)
  end)

  it("is asked again with every preset", function()
    for _, preset in ipairs { "policy", "graph", "patient" } do
      local world = world_of({ failures[1], granted }, { retry = autopilot.retry[preset] {} })
      assert.equal("started", world.client:sync().outcome)
    end
  end)

  it("is asked again after a refused token, too", function()
    local newer = token_world.granted { access_token = "newer" }
    local world = world_of(
      { granted, failures[1], newer },
      nil,
      { status = 401, headers = {}, body = "" }
    )
    local report = world.client:sync()
    assert.equal("started", report.outcome)
    assert.same({ 3, 2 }, { world.asked, world.sent })
    local outcomes = {}
    for index, attempt in ipairs(report.attempts) do
      outcomes[index] = attempt.outcome
    end
    assert.same({ "unauthenticated", "token_error", "started" }, outcomes)
    assert.is_true(world.waits[1] >= 5)
  end)

  it("affects one tenant of a fleet only", function()
    local asked = {}
    local summary = autopilot
      .fleet({
        tenants = { "a.test", "b.test", "c.test" },
        sleep = function() end,
        client = {
          token = autopilot.token.client_secret { client_id = "c", client_secret = "s" },
          retry = autopilot.retry.policy { base = 0, jitter = "none" },
        },
        transport = function(request)
          local tenant = request.url:match "([%w.]+)/oauth2"
          if not tenant then
            return started
          end
          asked[tenant] = (asked[tenant] or 0) + 1
          local busy = { status = 503, headers = { ["retry-after"] = "0" }, body = "" }
          return asked[tenant] == 1 and busy or granted
        end,
      })
      :run { on_report = function() end }
    assert.same({ 3, 0 }, { summary.ok, summary.failed })
    assert.same({ ["a.test"] = 2, ["b.test"] = 2, ["c.test"] = 2 }, asked)
  end)
end)

describe("over real sockets", function()
  it("a token endpoint that breaks the connection, and then is busy, is asked again", function()
    local begun = 0
    local server = hostile.listen(function(connection)
      begun = begun + 1
      connection:read_head()
      connection:read_body()
      if begun == 1 then
        connection:reset()
      elseif begun == 2 then
        connection:send "HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 0\r\n"
        connection:send "Connection: close\r\n\r\n"
        connection:close()
      elseif begun == 3 then
        local body = granted.body
        connection:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n"):format(#body))
        connection:send("Connection: close\r\n\r\n" .. body)
        connection:close()
      else
        connection:send "HTTP/1.1 204 No Content\r\n\r\n"
      end
    end)
    local transport = curl.new { http = { proxy = "" }, drive = hostile.drive() }
    local waits = {}
    local client = autopilot.client {
      tenant = "contoso.test",
      base_url = server:url "",
      transport = transport,
      sleep = function(seconds)
        waits[#waits + 1] = seconds
      end,
      token = autopilot.token.client_secret {
        client_id = "c",
        client_secret = "s",
        authority = server:url "",
      },
    }
    local report, failure = client:sync()
    transport:close()
    hostile.close()
    assert.equal("started", (report or failure).outcome, tostring(failure))
    assert.same({ 4, 3, 2 }, { begun, #report.attempts, #waits })
    assert.is_true(waits[2] >= 3)
  end)
end)

describe("a token endpoint that keeps failing", function()
  it("is a token_error with its message, and why there was no further attempt", function()
    local world = world_of { failures[5] }
    local _, failure = world.client:sync()
    assert.same({ "token_error", "attempts" }, { failure.outcome, failure.gave_up })
    assert.same({ 4, 0, 4 }, { world.asked, world.sent, #failure.attempts })
    assert.equal("no", failure.delivered)
    assert.is_nil(failure.is_transient)
    assert.is_truthy(failure.error.message:find("connection refused", 1, true))
  end)

  it("ends with the deadline, or if its Retry-After is too long", function()
    local _, failure = world_of({ failures[5] }).client:sync { deadline = 0.5 }
    assert.same({ "token_error", "deadline" }, { failure.outcome, failure.gave_up })
    local long = { status = 429, headers = { ["retry-after"] = "999" }, body = "" }
    _, failure = world_of({ long }).client:sync()
    assert.same({ "token_error", "retry_after" }, { failure.outcome, failure.gave_up })
    assert.equal(1767225600 + 999, failure.retry_at)
  end)

  it("is asked once without retries", function()
    for _, given in ipairs {
      { retry = false },
      { retry = autopilot.retry.policy { on = { "unavailable" } } },
      { retry = autopilot.retry.policy { on = { token_error = false } } },
    } do
      local world = world_of({ failures[1] }, given)
      local _, failure = world.client:sync()
      assert.same({ "token_error", 1, 0 }, { failure.outcome, world.asked, #world.waits })
    end
  end)

  it("does not delay the service: its Retry-After applies to itself only", function()
    local world = world_of({ failures[3], granted }, { retry = false })
    assert.equal("token_error", select(2, world.client:status()).outcome)
    assert.equal(0, world.sent)
    local _, failure = world.client:sync() -- the endpoint is left alone meanwhile
    assert.same({ "token_error", 1 }, { failure.outcome, world.asked })
    world.client.options.sleep(7)
    assert.equal("started", world.client:sync().outcome)
  end)
end)

describe("a token endpoint that refuses", function()
  it("is not asked again", function()
    for _, refusal in ipairs {
      refused,
      token_world.refused(400, "invalid_grant", 70008, "Expired."),
      { status = 400, headers = {}, body = "" },
      { status = 200, headers = {}, body = "{}" },
    } do
      local world = world_of { refusal, granted }
      local _, failure = world.client:sync()
      assert.same({ "token_error", "not_retryable" }, { failure.outcome, failure.gave_up })
      assert.same({ 1, 0, 0 }, { world.asked, world.sent, #world.waits })
    end
  end)
end)
