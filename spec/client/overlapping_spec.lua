-- Calls of one client that overlap, as in several light threads: each report is about its own request.

local base64url = require "autopilot.base.base64url"
local cjson = require "cjson"
local histories = require "support.histories"
local retry = require "autopilot.retry"
local shared_history = require "support.shared_history"
local sharing = require "support.sharing"
local virtual_world = require "support.virtual_world"

local first_tenant = "a1111111-2222-3333-4444-555555555555"
local other_tenant = "b1111111-2222-3333-4444-555555555555"

local function token_of(tenant, number)
  local claims = { aud = "https://graph.microsoft.com", tid = tenant, jti = number }
  return ("e30.%s.c2lnbmF0dXJl"):format(base64url.encode(cjson.encode(claims)))
end

--- A client that has these tokens, one for each call.
---@param given { transport: function, on_event: function? }
local function client_with(tokens, given)
  local begun = 0
  given.tenant, given.retry, given.recover = "contoso.example", false, false
  function given.token()
    begun = begun + 1
    return tokens[begun]
  end
  return virtual_world.new():client(given)
end

--- A sync with the first token, while whose request another call sends each of the other tokens. The first answer
-- repeats the first token.
---@param meanwhile fun(client: autopilot.Client)? is called after the other calls
---@return autopilot.Report failure of the sync
---@return autopilot.Client
local function overlapped(tokens, meanwhile)
  local client
  client = client_with(tokens, {
    transport = function(request)
      if request.method == "GET" then
        return { status = 404, headers = { ["request-id"] = "1" } }
      end
      for _ = 2, #tokens do
        client:status()
      end
      if meanwhile then
        meanwhile(client)
      end
      return {
        status = 403,
        headers = { ["request-id"] = "1" },
        body = ('{"error":{"code":"x","message":"no %s"}}'):format(tokens[1]),
      }
    end,
  })
  local report, failure = client:sync()
  assert.is_nil(report)
  return failure, client
end

describe("autopilot.client: of calls that overlap", function()
  it("each report is without the token that was sent for it", function()
    local tokens = {}
    for number = 1, 4 do
      tokens[number] = token_of(first_tenant, number)
      assert.equal("no [redacted]", overlapped(tokens).error.message)
    end
  end)

  it("each report names the tenant of the token that was sent for it", function()
    local failure = overlapped { token_of(first_tenant), token_of(other_tenant) }
    assert.equal(first_tenant, failure.tenant_id)
    failure = overlapped { token_of(first_tenant), "opaque" }
    assert.equal(first_tenant, failure.tenant_id)
    failure = overlapped { "opaque", token_of(other_tenant) }
    assert.is_nil(failure.tenant_id)
  end)

  it("each report of a lost answer does, too", function()
    local client, others
    client = client_with({ token_of(first_tenant), token_of(other_tenant) }, {
      transport = function()
        return nil, { stage = "receive", name = "X", message = "lost", delivered = "unknown" }
      end,
      on_event = function(event)
        if event.type == "response" and not others then
          others = {}
          others = select(2, client:status())
        end
      end,
    })
    local report, failure = client:sync()
    assert.is_nil(report)
    assert.equal(other_tenant, others.tenant_id)
    assert.equal(first_tenant, failure.tenant_id)
  end)

  it("each report of an answer that came before another call's token does, too", function()
    for _, answer in ipairs { { 500 }, { nil, { stage = "receive", delivered = "unknown" } } } do
      local client
      local world = virtual_world.new()
      local tokens = { "opaque", token_of(other_tenant) }
      client = world:client {
        token = function()
          return table.remove(tokens, 1)
        end,
        recover = false,
        retry = retry.policy { on = { interrupted = true } },
        transport = function(request)
          if request.method == "GET" then
            return { status = 404, headers = { ["request-id"] = "1" } }
          end
          return answer[1] and { status = answer[1], headers = {} }, answer[2]
        end,
        sleep = function(seconds)
          client:status()
          world:pass(seconds + 100)
        end,
      }
      local failure = select(2, client:sync { deadline = 50 })
      assert.equal("deadline", failure.gave_up)
      assert.is_nil(failure.tenant_id)
    end
  end)

  it("each report is about its token, though a handler of an event sends other ones", function()
    for _, text in ipairs { "attempt", "> POST", "< HTTP" } do
      local tokens, client = { token_of(first_tenant, 1) }, nil
      tokens[2], tokens[3] = token_of(other_tenant, 2), token_of(other_tenant, 3)
      client = client_with(tokens, {
        trace = true,
        transport = function(request)
          local body = request.method == "POST" and '{"error":{"message":"no ' .. tokens[1] .. '"}}'
          return { status = 403, headers = { ["request-id"] = "1" }, body = body or "" }
        end,
        on_event = function(event)
          if (event.text or event.type):find(text, 1, true) then
            client:status() -- has events of its own, and sends the next token
          end
        end,
      })
      local report, failure = client:sync()
      assert.is_nil(report)
      assert.equal("no [redacted]", failure.error.message)
      assert.equal(first_tenant, failure.tenant_id)
    end
  end)

  it("one whose answer is lost is not called delivered for a sync of another", function()
    local posts, client, world = 0, nil, virtual_world.new()
    client = world:client {
      retry = false,
      transport = function(request)
        world:pass(1)
        if request.method == "GET" then
          return virtual_world.record { trigger = world.time - 3, date = world.time }
        end
        posts = posts + 1
        if posts == 2 then
          local headers = { ["Date"] = virtual_world.date(world.time), ["request-id"] = "1" }
          return { status = 204, headers = headers }
        end
        assert(client:sync { force = true })
        world:pass(1)
        return nil, { stage = "receive", name = "X", message = "lost", delivered = "unknown" }
      end,
    }
    local report = assert(client:sync())
    assert.same({ "started", "status" }, { report.outcome, report.confirmed_by })
    assert.equal("unknown", report.delivered)
  end)

  it("one that closes the client does not bring the other's token into a report", function()
    local tokens = { token_of(first_tenant, 1), token_of(first_tenant, 2) }
    local failure = overlapped(tokens, function(client)
      client:close()
      assert.same({}, client.secrets)
    end)
    assert.equal("no [redacted]", failure.error.message)
  end)

  -- OVERLAPPING_SEED repeats a run, OVERLAPPING_HISTORIES says how many.
  it("each report is true: random histories in virtual time, in which answers get lost", function()
    local sums, count, seed = histories.run_all {
      name = "OVERLAPPING",
      usual = 500,
      elsewhere = 100,
      slowed = 50,
      shrinking = 600,
      run = function(choices)
        return shared_history.run(choices, sharing, true)
      end,
    }
    print(
      ("\noverlapping: %d histories (OVERLAPPING_SEED=%d): %d calls, %d posts"):format(
        count,
        seed,
        sums.calls,
        sums.posts
      )
    )
  end)
end)
