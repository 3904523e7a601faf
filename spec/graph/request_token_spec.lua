-- The token of a request: the provider's arguments, its failures, and when it is asked again.

local cached = require "autopilot.token.cached"
local refused_token = require "support.refused_token"
local token_world = require "support.token_world"
local virtual_world = require "support.virtual_world"

local assert_nowhere = token_world.assert_nowhere
local provider_of, unauthorized = refused_token.provider_of, refused_token.unauthorized

describe("autopilot.client: a token provider", function()
  it("gets tenant, cloud, scope, refresh, the HTTP layer, clock and sleep", function()
    local provider, asks = provider_of "a"
    local client, transport = virtual_world
      .new()
      :scripted({ { status = 204 } }, { token = provider })
    client:sync()
    local ask = asks[1]
    assert.equal("contoso", ask.tenant)
    assert.equal("global", ask.cloud)
    assert.equal("https://graph.microsoft.com/.default", ask.scope)
    assert.is_false(ask.refresh)
    assert.is_nil(ask.claims)
    assert.equal(transport, ask.transport)
    assert.equal(client.options.sleep, ask.sleep)
    assert.equal(client.options.now, ask.now)
  end)

  it("gets the scope of the client's cloud, for any base_url", function()
    local scopes = {
      global = "https://graph.microsoft.com/.default",
      us_gov = "https://graph.microsoft.us/.default",
      us_gov_dod = "https://dod-graph.microsoft.us/.default",
      china = "https://microsoftgraph.chinacloudapi.cn/.default",
    }
    for cloud, scope in pairs(scopes) do
      for _, base_url in ipairs { false, "https://gateway.example" } do
        local provider, asks = provider_of "a"
        local client, transport = virtual_world.new():scripted(
          { { status = 204 } },
          { token = provider, cloud = cloud, base_url = base_url or nil }
        )
        client:sync()
        assert.equal(cloud, asks[1].cloud)
        assert.equal(scope, asks[1].scope)
        local root = base_url or scope:gsub("/.default$", "")
        assert.equal(1, (transport.requests[1].url:find(root .. "/beta/", 1, true)))
      end
    end
  end)

  it("is asked before each attempt, and its newest token is sent", function()
    local provider, asks = provider_of("a", "b")
    local client, transport = virtual_world.new():scripted(
      { { network = {} }, { status = 204 } },
      { token = provider }
    )
    client:sync()
    assert.equal(2, #asks)
    assert.is_false(asks[2].refresh)
    assert.equal("Bearer a", transport.requests[1].headers["Authorization"])
    assert.equal("Bearer b", transport.requests[2].headers["Authorization"])
  end)

  it("that fails in any way ends in token_error, and nothing is sent", function()
    local hostile = setmetatable({}, {
      __tostring = function()
        error "hostile"
      end,
      __index = function()
        error "hostile"
      end,
      __concat = function()
        error "hostile"
      end,
    })
    local no_token = "the token provider returned no token"
    for _, case in ipairs {
      { "nothing", function() end, no_token },
      {
        "nil and a message",
        function()
          return nil, "the vault is sealed"
        end,
        "the vault is sealed",
      },
      {
        "false",
        function()
          return false
        end,
        no_token,
      },
      {
        "an empty text",
        function()
          return ""
        end,
        "the provider's token must not be empty",
      },
      {
        "a number",
        function()
          return 5
        end,
        "the provider's token must be a string (got number)",
      },
      {
        "a table",
        function()
          return {}
        end,
        "the provider's token must be a string (got table)",
      },
      {
        "nil and a table",
        function()
          return nil, hostile
        end,
        no_token,
      },
      {
        "a raised text",
        function()
          error("the vault is sealed", 0)
        end,
        "the vault is sealed",
      },
      {
        "a raised table",
        function()
          error { code = 5 }
        end,
        no_token,
      },
      {
        "a raised object that cannot be shown",
        function()
          error(hostile)
        end,
        no_token,
      },
      {
        "a raised nil",
        function()
          error()
        end,
        select(2, pcall(error)) or no_token, -- Lua 5.5 makes a text of it
      },
    } do
      local name, provider, message = case[1], case[2], case[3]
      local client, transport = virtual_world.new():scripted({}, { token = provider })
      local report, failure = client:sync()
      assert.is_nil(report, name)
      assert.equal("token_error", failure.outcome, name)
      assert.is_false(failure.ok)
      assert.equal("no", failure.delivered)
      assert.equal("client", failure.answered_by)
      assert.equal("not_retryable", failure.gave_up)
      assert.equal("contoso", failure.tenant)
      assert.equal(message, failure.error.message, name)
      assert.is_truthy(failure.hint)
      assert.is_nil(failure.status)
      assert.is_truthy(tostring(failure):find(message, 1, true))
      assert.equal(0, #transport.requests)
      for _, method in ipairs { "status", "wait", "ensure" } do
        assert.equal("token_error", select(2, client[method](client)).outcome)
      end
    end
  end)

  it("has its message shown in one line of bounded length", function()
    local client = virtual_world.new():scripted({}, {
      token = function()
        return nil, "two\nlines\r\n" .. ("x"):rep(10000)
      end,
    })
    local failure = select(2, client:sync())
    assert.is_nil(failure.error.message:find "%c")
    assert.is_true(#failure.error.message <= 500)
  end)

  it("may yield, in every Lua version", function()
    local client = virtual_world.new():scripted({ { status = 204 } }, {
      token = function(ask)
        return coroutine.yield("token for", ask.tenant)
      end,
    })
    local thread = coroutine.create(function()
      return client:sync()
    end)
    assert.same({ true, "token for", "contoso" }, { coroutine.resume(thread) })
    local ok, report = coroutine.resume(thread, "late")
    assert.is_true(ok)
    assert.equal("started", report.outcome)
    assert.equal("dead", coroutine.status(thread))
  end)

  it("that yields outside of a coroutine is a token_error", function()
    local client, transport = virtual_world.new():scripted({}, { token = coroutine.yield })
    local yielded, failure = true, nil
    -- The specs run in a coroutine or not; a C function in between keeps a yield from passing.
    table.sort({ 1, 2 }, function()
      if yielded then
        yielded, failure = client:sync()
      end
      return false
    end)
    assert.equal("token_error", failure.outcome)
    assert.equal(0, #transport.requests)
  end)

  it("that closes the client prevents the request, and the client keeps no token", function()
    local client, transport
    client, transport = virtual_world.new():scripted({}, {
      token = function()
        client:close()
        return "hush-hush"
      end,
    })
    local report, failure = client:sync()
    assert.is_nil(report)
    assert.is_false(failure.ok)
    assert.equal("no", failure.delivered)
    assert.equal(0, #transport.requests)
    assert.is_truthy(tostring(failure):find "closed")
    assert_nowhere("hush-hush", client)
  end)

  it("is told what its token must be; the token is not sent, and not quoted", function()
    local more = "must be without CR, LF, NUL and the word 'Bearer'"
    for _, case in ipairs {
      { "hush\r\nX: y", more },
      { "hush\n", more },
      { "hu\0sh", more },
      { "Bearer hush", more },
      { 42, "must be a " },
    } do
      local function provider()
        return case[1], 3600
      end
      for _, token in ipairs { provider, cached(provider) } do
        local client, transport = virtual_world.new():scripted({}, { token = token, retry = false })
        for _, method in ipairs { "sync", "status", "wait", "ensure" } do
          local failure = select(2, client[method](client))
          assert.equal("token_error", failure.outcome)
          local told = failure.error.message
          assert.truthy(told:find("the provider's token " .. case[2], 1, true), told)
        end
        assert.equal(0, #transport.requests)
      end
    end
  end)
end)

describe("autopilot.client: a refused token", function()
  it("is refreshed once, and the request is sent once more with the new one", function()
    local provider, asks = provider_of("old", "new")
    local client, transport = virtual_world
      .new()
      :scripted({ unauthorized, { status = 204 } }, { token = provider })
    local report = client:sync()
    assert.equal("started", report.outcome)
    assert.equal(2, #asks)
    assert.is_false(asks[1].refresh)
    assert.is_true(asks[2].refresh)
    assert.equal("Bearer old", transport.requests[1].headers["Authorization"])
    assert.equal("Bearer new", transport.requests[2].headers["Authorization"])
    assert.equal(2, #report.attempts)
    assert.equal("unauthenticated", report.attempts[1].outcome)
    assert.equal("yes", report.attempts[1].delivered)
    assert.equal("started", report.attempts[2].outcome)
    assert.equal(0, report.attempts[2].delay)
  end)

  it("that is refused again after the refresh ends in unauthenticated", function()
    local provider, asks = provider_of("old", "new", "newer")
    local client, transport = virtual_world
      .new()
      :scripted({ unauthorized, unauthorized }, { token = provider })
    local failure = select(2, client:sync())
    assert.equal("unauthenticated", failure.outcome)
    assert.equal("not_retryable", failure.gave_up)
    assert.equal("yes", failure.delivered)
    assert.equal(2, #asks)
    assert.equal(2, #transport.requests)
  end)

  it("is not sent again if the provider has no other", function()
    local provider, asks = provider_of "old"
    local client, transport = virtual_world.new():scripted({ unauthorized }, { token = provider })
    local failure = select(2, client:sync())
    assert.equal("unauthenticated", failure.outcome)
    assert.equal(2, #asks)
    assert.equal(1, #transport.requests)
    assert.equal(1, #failure.attempts)
  end)

  it("is not refreshed if it is the caller's fixed text", function()
    local client, transport = virtual_world.new():scripted { unauthorized }
    local failure = select(2, client:sync())
    assert.equal("unauthenticated", failure.outcome)
    assert.equal(1, #transport.requests)
    assert.equal("service", failure.answered_by)
  end)

  it("costs no second token if the 401 wraps a Forbidden", function()
    local wrapped = '{"error":{"code":"UnknownError","message":"{\\"ErrorCode\\":\\"Forbidden\\",'
      .. '\\"Message\\":\\"{\\\\r\\\\n \\\\\\"_version\\\\\\": 3,\\\\r\\\\n \\\\\\"Message\\\\\\": '
      .. '\\\\\\"Application is not authorized to perform this operation.\\\\\\"}\\"}"}}'
    local provider, asks = provider_of("old", "new")
    local client, transport = virtual_world
      .new()
      :scripted({ { status = 401, body = wrapped } }, { token = provider })
    local failure = select(2, client:sync())
    assert.equal("forbidden", failure.outcome)
    assert.equal(401, failure.status)
    assert.equal(1, #asks)
    assert.equal(1, #transport.requests)
  end)

  it("is reported as refused if the provider fails to refresh it", function()
    local asked = 0
    local client, transport = virtual_world.new():scripted({ unauthorized }, {
      token = function(ask)
        asked = asked + 1
        if ask.refresh then
          return nil, "the vault is sealed"
        end
        return "old"
      end,
    })
    local failure = select(2, client:sync())
    assert.equal("unauthenticated", failure.outcome)
    assert.equal("yes", failure.delivered)
    assert.equal("service", failure.answered_by)
    assert.equal("InvalidAuthenticationToken", failure.error.code)
    assert.is_truthy(failure.hint:find "the vault is sealed")
    assert.equal(2, asked)
    assert.equal(1, #transport.requests)
  end)

  it("reports the token endpoint's Retry-After, which does not apply to Graph", function()
    local world = virtual_world.new()
    local client, transport = world:scripted({ unauthorized, { status = 204 } }, {
      retry = false,
      token = function(ask)
        if ask.refresh then
          return nil, "the token endpoint throttles", { retry_after = 30 }
        end
        return "old"
      end,
    })
    local failure = select(2, client:sync())
    assert.equal("unauthenticated", failure.outcome)
    assert.equal(30, failure.retry_after)
    assert.equal(world.time + 30, failure.retry_at)
    assert.is_nil(failure.free_at)
    assert.equal("started", client:sync().outcome)
    assert.equal(2, #transport.requests)
  end)
end)
