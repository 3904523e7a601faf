local client_secret = require("autopilot.token.application").client_secret
local files = require "support.files"
local mistakes = require "support.mistakes"
local overlay = require "support.overlay"
local token_world = require "support.token_world"

local secret = "h~u s+h/=&%hush-4f6c1d0e9a7b"
local nothing = token_world.getenv {}

local function provider(given)
  local options = { client_id = "app", getenv = nothing }
  for name, value in pairs(given or { client_secret = secret }) do
    options[name] = value
  end
  return client_secret(options)
end

local function emulated(given)
  return token_world.emulated({ clients = { app = { secret = secret } } }, given)
end

describe("autopilot.token.client_secret", function()
  it("signs in with the secret, for the client's tenant, cloud and scope", function()
    for cloud, hosts in pairs {
      global = { "login.microsoftonline.com", "graph.microsoft.com" },
      us_gov = { "login.microsoftonline.us", "graph.microsoft.us" },
      us_gov_dod = { "login.microsoftonline.us", "dod-graph.microsoft.us" },
      china = { "login.partner.microsoftonline.cn", "microsoftgraph.chinacloudapi.cn" },
    } do
      local scope = ("https://%s/.default"):format(hosts[2])
      local world = emulated { tenant = "contoso.test", cloud = cloud, scope = scope }
      local token, expires_in, extra = provider()(world.ask)
      assert.are.equal("string", type(token))
      assert.are.equal(3599, expires_in)
      assert.is_nil(extra.refresh_token)
      local sent = world.requests[1]
      assert.are.equal(("https://%s/contoso.test/oauth2/v2.0/token"):format(hosts[1]), sent.url)
      assert.are.same({
        client_id = "app",
        client_secret = secret,
        grant_type = "client_credentials",
        scope = scope,
      }, token_world.form(sent.body))
      for name, value in pairs(sent.headers) do
        token_world.assert_nowhere("4f6c1d0e9a7b", name .. value)
      end
    end
  end)

  it("gives a token that the service accepts", function()
    local autopilot = require "autopilot"
    local world = emulated()
    local client = autopilot.client {
      token = provider(),
      tenant = "contoso",
      transport = world.ask.transport,
      sleep = world.ask.sleep,
    }
    local report, failure = client:sync()
    assert.are.equal("started", (report or failure).outcome)
  end)

  it("prefers its own options for tenant, scope and authority", function()
    local world = emulated()
    provider {
      client_secret = secret,
      tenant = "other.test",
      scope = "https://x.test/.default",
      authority = "https://login.example.test",
    }(world.ask)
    local sent = world.requests[1]
    assert.are.equal("https://login.example.test/other.test/oauth2/v2.0/token", sent.url)
    assert.are.equal("https://x.test/.default", token_world.form(sent.body).scope)
  end)

  it("calls a function for the secret at each request", function()
    local world, given = emulated(), { secret, "another-4f6c1d0e9a7b" }
    local asked = {}
    local sign_in = provider {
      client_secret = function(ask)
        asked[#asked + 1] = ask
        return table.remove(given, 1)
      end,
    }
    assert.is_truthy((sign_in(world.ask)))
    local token, message, details = sign_in(world.ask)
    assert.is_nil(token)
    assert.are.equal("AADSTS7000215: Invalid client secret provided.", message)
    assert.are.equal("7000215", details.reason)
    assert.are.equal(world.ask, asked[2])
  end)

  it("lets the function yield", function()
    local world = emulated()
    local thread = coroutine.create(provider {
      client_secret = function()
        return coroutine.yield "waiting"
      end,
    })
    assert.are.same({ true, "waiting" }, { coroutine.resume(thread, world.ask) })
    local _, token = coroutine.resume(thread, secret)
    assert.are.equal("string", type(token))
  end)

  it("reports a function without a secret, and does not quote its error", function()
    local world = emulated()
    for _, given in ipairs { {}, { "" }, { 5 }, { "a\nb" }, { nil, "the vault\nis closed" } } do
      local token, message, details = provider {
        client_secret = function()
          return given[1], given[2]
        end,
      }(world.ask)
      assert.is_nil(token)
      assert.is_truthy(message:find "gave no secret")
      assert.are.equal(given[2] ~= nil, message:find("the vault is closed", 1, true) ~= nil)
      assert.is_false(details.is_transient)
    end
    local token, message = provider {
      client_secret = function()
        error("vault has " .. secret)
      end,
    }(world.ask)
    assert.is_nil(token)
    token_world.assert_nowhere("4f6c1d0e9a7b", message)
    assert.are.equal(0, #world.requests)
  end)

  it("reads a file once, and not before it is needed", function()
    local path, remove = files.temporary(secret .. "\n")
    local world = emulated()
    local sign_in = provider { client_secret_file = path }
    assert.is_truthy((sign_in(world.ask)))
    remove()
    assert.is_truthy((sign_in(world.ask)))
  end)

  it("refuses a file that every user can read, until that is changed or allowed", function()
    local path, remove = files.temporary(secret, "644")
    local world = emulated()
    local sign_in = provider { client_secret_file = path }
    local token, message, details = sign_in(world.ask)
    assert.is_nil(token)
    assert.is_truthy(message:find "every user")
    assert.is_false(details.is_transient)
    assert.are.equal(0, #world.requests)
    local allowed = provider { client_secret_file = path, allow_world_readable = true }
    assert.is_truthy((allowed(world.ask)))
    os.execute(("chmod 600 '%s'"):format(path))
    assert.is_truthy((sign_in(world.ask)))
    remove()
  end)

  it("raises for a caller's mistake, at the caller's line and without the secret", function()
    local function with(given)
      return overlay({ client_id = "app", client_secret = secret }, given)
    end
    mistakes.assert_refused("client_secret", client_secret, {
      ["unknown option 'client_secert' (did you mean 'client_secret'?)"] = {
        client_id = "app",
        client_secert = secret,
      },
      ["option 'client_id' is required"] = { client_secret = secret },
      ["option 'client_id' must be one line of text"] = { client_id = "", client_secret = secret },
      ["needs one of the options 'client_secret' and 'client_secret_file'"] = { client_id = "app" },
      ["option 'client_secret' must not contain control characters: a line end follows it"] = {
        client_id = "app",
        client_secret = secret .. "\n",
      },
      ["option 'client_secret' must not be empty"] = { client_id = "app", client_secret = "" },
      ["option 'client_secret' must be a string or a function (got table)"] = {
        client_id = "app",
        client_secret = { secret },
      },
      ["an application cannot sign in to 'common'"] = with { tenant = "common" },
      ["option 'authority' must be https"] = with { authority = "http://login.test" },
    }, "4f6c1d0e9a7b")
    local both = { client_id = "app", client_secret = secret, client_secret_file = "x" }
    assert.is_truthy(mistakes.raised(client_secret, both):find "takes only one of the options")
  end)

  it("sends the secret neither to another cloud's authority nor over http", function()
    for _, host in ipairs { "login.microsoftonline.us", "http://login.example.test" } do
      local world = emulated()
      local sign_in = client_secret {
        client_id = "app",
        client_secret = secret,
        getenv = token_world.getenv { AZURE_AUTHORITY_HOST = host },
      }
      local token, message, details = sign_in(world.ask)
      assert.is_nil(token)
      assert.is_truthy(message:find "AZURE_AUTHORITY_HOST")
      assert.is_false(details.is_transient)
      assert.are.equal(0, #world.requests)
    end
  end)

  it("never shows the secret", function()
    local sign_in = provider()
    token_world.assert_nowhere("4f6c1d0e9a7b", sign_in)
    for _, answer in ipairs {
      token_world.refused(401, "invalid_client", 7000215, "Wrong: " .. secret),
      { status = 500, body = secret },
      { status = 302, headers = { Location = "https://evil.test/?" .. secret } },
      { network = { message = secret } },
      token_world.granted(),
    } do
      local world = token_world.scripted { answer }
      token_world.assert_nowhere("4f6c1d0e9a7b", { sign_in(world.ask) })
      token_world.assert_nowhere("4f6c1d0e9a7b", world.slept)
    end
    local world = token_world.over(function(request)
      error { body = request.body }
    end)
    local ok, trace = xpcall(function()
      local token, message, details = sign_in(world.ask)
      error(table.concat({ tostring(token), tostring(message), tostring(details.hint) }, " "))
    end, debug.traceback)
    assert.is_false(ok)
    token_world.assert_nowhere("4f6c1d0e9a7b", trace)
  end)
end)
