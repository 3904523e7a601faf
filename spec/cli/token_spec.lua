-- `autopilot-sync token`: the claims that it prints, and that it prints no more.

local base64url = require "autopilot.base.base64url"
local cjson = require "cjson"
local command = require "support.command"
local overlay = require "support.overlay"
local scripted = require "autopilot.transport.scripted"

local needed = "DeviceManagementServiceConfig.ReadWrite.All"
local now = 1767225600

local function jwt(claims)
  return ("e30.%s.c2lnbmF0dXJl"):format(base64url.encode(cjson.encode(claims)))
end

local function run(args, token, given)
  local transport = scripted {}
  local world = {
    env = { AUTOPILOT_TOKEN = token },
    transport = transport,
    now = function()
      return now
    end,
  }
  overlay(world, given)
  local ran = command.run(args, world)
  assert.equal(0, #transport.requests)
  return ran
end

local of_application = {
  aud = "https://graph.microsoft.com",
  tid = "11111111-2222-3333-4444-555555555555",
  appid = "66666666-7777-8888-9999-000000000000",
  roles = { "Device.Read.All", needed },
  exp = now + 3599,
}

describe("autopilot-sync token", function()
  it("prints the claims of an application's token", function()
    for _, args in ipairs { "token", "token --inspect" } do
      local ran = run(args, jwt(of_application))
      assert.equal(0, ran.code)
      assert.equal("", ran.err)
      assert.equal(
        table.concat({
          "Audience      https://graph.microsoft.com",
          "Tenant        11111111-2222-3333-4444-555555555555",
          "Application   66666666-7777-8888-9999-000000000000",
          "Roles         Device.Read.All, " .. needed,
          "Expires       2026-01-01T00:59:59Z (in 59 min 59 s)",
          "Permission    " .. needed .. " is there",
          "",
        }, "\n"),
        ran.out
      )
    end
  end)

  it("prints the claims of a user's token", function()
    local ran = run(
      "token --inspect",
      jwt {
        aud = { "https://graph.microsoft.com" },
        azp = "app",
        upn = "admin@contoso.example",
        scp = "openid " .. needed:lower(),
        exp = now - 90,
      }
    )
    assert.is_truthy(ran.out:find("User          admin@contoso.example\n", 1, true))
    assert.is_truthy(ran.out:find("Scopes        openid, " .. needed:lower(), 1, true))
    assert.is_truthy(ran.out:find("(1 min 30 s ago)", 1, true))
    assert.is_truthy(ran.out:find("is there", 1, true))
    assert.is_truthy(ran.out:find("Tenant        not told", 1, true))
  end)

  it("says that the permission is missing", function()
    for _, roles in ipairs { { "Device.Read.All" }, { needed .. "X" }, {} } do
      local audience = "https://graph.microsoft.com"
      local ran = run("token", jwt { aud = audience, roles = roles[1] and roles or nil })
      assert.equal(roles[1] and 5 or 0, ran.code) -- a token that does not mention any may be right
      assert.is_truthy(ran.out:find("Permission    " .. needed .. " is missing", 1, true))
      assert.is_truthy(ran.out:find("Expires       not told", 1, true))
    end
  end)

  it("says that a token cannot be read, which is no failure", function()
    local ran = run("token --inspect", "opaque-token")
    assert.equal(0, ran.code)
    assert.equal("A token was given. The token is opaque: it is no JSON Web Token.\n", ran.out)
    local facts = cjson.decode(run("token --json", "opaque-token").out)
    assert.is_true(facts.ok)
    assert.is_nil(facts.permitted)
    assert.is_nil(facts.token)
  end)

  it("prints all claims as JSON", function()
    local ran = run("token --json", jwt(of_application))
    assert.same({
      ok = true,
      operation = "token",
      audience = of_application.aud,
      tenant = of_application.tid,
      application = of_application.appid,
      roles = of_application.roles,
      expires_at = of_application.exp,
      expires_in = 3599,
      permission = needed,
      permitted = true,
    }, cjson.decode(ran.out))
  end)

  it("prints the token only on request", function()
    local token = jwt(of_application)
    for _, args in ipairs { "token", "token --inspect", "token --json", "token --quiet" } do
      local ran = run(args, token)
      for part in token:gmatch "[^.]+" do
        if #part > 4 then
          assert.is_nil((ran.out .. ran.err):find(part, 1, true))
        end
      end
    end
    assert.equal(token .. "\n", run("token --print", token).out)
    assert.equal(token .. "\n", run("token --print --quiet", token).out)
    assert.equal(token, cjson.decode(run("token --print --json", token).out).token)
    local both = run("token --print --inspect", token).out
    assert.equal(token, both:match "([^\n]*)\n$")
    assert.is_truthy(both:find("Audience", 1, true))
  end)

  it("prints no control characters or line ends from a claim", function()
    local ran = run("token", jwt { aud = "a\27[2J\nPermission    x is there", exp = 1e300 })
    assert.is_nil(ran.out:find("\27", 1, true))
    assert.is_nil(ran.out:find("\nPermission    x", 1, true))
    assert.is_truthy(ran.out:find("out of every range", 1, true))
  end)

  it("survives claims of other types", function()
    for _, value in ipairs { 5, true, {}, { {} }, { a = 1 }, { 5, "x" } } do
      local claims = { aud = value, tid = value, appid = value, roles = value, scp = value }
      claims.exp, claims.upn = value, value
      -- An expiry of 5 is long past, and "x" is a permission that a sync does not need.
      local code = (value == 5 or (type(value) == "table" and value[2])) and 5 or 0
      assert.equal(code, run("token", jwt(claims)).code)
      assert.equal(code, run("token --json", jwt(claims)).code)
    end
  end)

  it("says why there is no token, and ends in 5", function()
    local given = {
      env = { AZURE_TENANT_ID = "t", AZURE_CLIENT_ID = "app", AZURE_CLIENT_SECRET = "hidden" },
      transport = function()
        return {
          status = 401,
          headers = {},
          body = '{"error":"invalid_client","error_description":"AADSTS7000215: Invalid hidden",'
            .. '"error_codes":[7000215]}',
        }
      end,
    }
    local ran = command.run("token --inspect", given)
    assert.equal(5, ran.code)
    assert.equal("", ran.out)
    assert.is_truthy(ran.err:find("token t: token_error, AADSTS7000215", 1, true), ran.err)
    assert.is_nil(ran.err:find("hidden", 1, true))
    given.env = { AZURE_TENANT_ID = "t", AZURE_CLIENT_ID = "app", AZURE_CLIENT_SECRET = "hidden" }
    ran = command.run("token --json", given)
    assert.equal("7000215", cjson.decode(ran.out).error.reason)
  end)

  it("ends in 5 for a token that does not permit a sync, and says why", function()
    local wrong = {
      TokenExpired = { { exp = now - 3 * 3600 }, "the token has expired 3 h ago" },
      WrongAudience = {
        { aud = "https://management.azure.com/" },
        "the token is for https://management.azure.com/, and the service is "
          .. "https://graph.microsoft.com",
      },
      MissingPermission = {
        { roles = { "Device.Read.All" } },
        "does not have the permission " .. needed,
      },
      TenantMismatch = {
        { tid = "00000000-2222-3333-4444-555555555555" },
        "the token is of the tenant 00000000-2222-3333-4444-555555555555, and "
          .. of_application.tid
          .. " was asked for",
      },
    }
    for code, case in pairs(wrong) do
      local token = jwt(overlay(overlay({}, of_application), case[1]))
      local args = "--tenant {" .. of_application.tid:upper() .. "}"
      local ran = run("token " .. args, token)
      assert.equal(5, ran.code)
      assert.is_truthy(ran.out:find("Audience", 1, true)) -- the facts are shown all the same
      assert.is_truthy(ran.err:find(case[2], 1, true), ran.err)
      ran = run("token --json " .. args, token)
      local facts = cjson.decode(ran.out)
      assert.equal(5, ran.code)
      assert.is_false(facts.ok)
      assert.equal("token_error", facts.outcome)
      assert.equal(code, facts.error.code)
      assert.is_string(facts.hint)
      assert.equal(of_application.appid, facts.application)
      assert.equal(token .. "\n", run("token --print " .. args, token).out)
    end
  end)

  it("retries a failing token endpoint, like every command", function()
    local asked, waits = 0, {}
    local ran = command.run("token --print", {
      env = { AZURE_TENANT_ID = "t", AZURE_CLIENT_ID = "app", AZURE_CLIENT_SECRET = "hidden" },
      sleep = function(seconds)
        waits[#waits + 1] = seconds
      end,
      transport = function()
        asked = asked + 1
        if asked == 1 then
          return { status = 503, headers = { ["retry-after"] = "9" }, body = "" }
        end
        return { status = 200, headers = {}, body = '{"access_token":"opaque","expires_in":3599}' }
      end,
    })
    assert.same({ 0, "opaque\n", 2 }, { ran.code, ran.out, asked })
    assert.is_true(waits[1] >= 9)
  end)

  it(
    "is refused by every command where it is another tenant's than the environment names",
    function()
      for _, name in ipairs { "sync", "status", "wait", "ensure" } do
        local given = { env = { AUTOPILOT_TOKEN = jwt(of_application) } }
        given.env.AZURE_TENANT_ID = "00000000-2222-3333-4444-555555555555"
        local ran = run(name .. " --json", jwt(of_application), given)
        local failure = cjson.decode(ran.out)
        assert.equal(5, ran.code)
        assert.equal("TenantMismatch", failure.error.code)
        assert.is_nil(failure.tenant_id)
      end
    end
  )

  it("ends in 2 if no way to sign in is chosen", function()
    assert.equal(2, run("token", "").code)
  end)
end)
