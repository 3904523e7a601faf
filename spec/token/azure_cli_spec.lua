-- The arguments for the Azure CLI, and how its output is read.

local azure_cli = require "autopilot.token.azure_cli"
local azure_world = require "support.azure_world"
local base64url = require "autopilot.base.base64url"
local cached = require "autopilot.token.cached"
local mistakes = require "support.mistakes"
local overlay = require "support.overlay"
local token_world = require "support.token_world"

local guid, opaque, printed, world_of =
  azure_world.guid, azure_world.opaque, azure_world.printed, azure_world.new

--- A provider over a scripted shell, and the command lines that it got.
local function scripted(output, code, given)
  local lines = {}
  local options = {
    run = function(line)
      lines[#lines + 1] = line
      return output, code
    end,
  }
  overlay(options, given)
  return azure_cli(options), lines
end

describe("autopilot.token.azure_cli", function()
  it("requests a token for the client's scope, and names no tenant by default", function()
    local sign_in, lines = scripted(printed { expires_on = 1767229200 }, 0)
    local token, expires_in, extra = sign_in(world_of().ask)
    assert.are.equal(opaque, token)
    assert.are.equal(1767229200 - 1767225600.25, expires_in)
    assert.are.same({}, extra)
    local command = "'az' account get-access-token -o json --resource "
      .. "'https://graph.microsoft.com' </dev/null 2>&1"
    assert.are.equal(command, lines[1]:sub(-#command))
  end)

  it("requests the resource of each cloud, and without a tenant the account's own", function()
    for cloud, resource in pairs {
      global = "https://graph.microsoft.com",
      us_gov = "https://graph.microsoft.us",
      us_gov_dod = "https://dod-graph.microsoft.us",
      china = "https://microsoftgraph.chinacloudapi.cn",
    } do
      local sign_in, lines = scripted(printed(), 0)
      local world = world_of { cloud = cloud }
      world.ask.scope, world.ask.tenant = nil, nil
      assert.are.equal(opaque, (sign_in(world.ask)))
      assert.is_truthy(lines[1]:find("--resource '" .. resource .. "' <", 1, true))
      assert.is_nil(lines[1]:find("--tenant", 1, true))
    end
  end)

  it("names each tenant of a fleet", function()
    local sign_in, lines = scripted(printed(), 0)
    assert.are.equal(opaque, (sign_in(world_of({ has_several = true }).ask)))
    assert.is_truthy(lines[1]:find(" --tenant 'contoso' <", 1, true))
  end)

  it("names no tenant to an az with a managed identity, which refuses it", function()
    local lines = {}
    local function sign_in(tenant, given)
      return azure_cli {
        tenant = tenant,
        run = function(line)
          lines[#lines + 1] = line
          if line:find("--tenant", 1, true) then
            return "ERROR: Tenant shouldn't be specified for managed identity account\n", 1
          end
          return printed(), 0
        end,
      }(world_of(given).ask)
    end
    assert.are.equal(opaque, (sign_in("{" .. guid .. "}")))
    assert.are.equal(2, #lines)
    -- Of a domain, and of each of many tenants, nothing would tell that the token is another's.
    for tenant, given in pairs { [guid] = { has_several = true }, ["other.example"] = {} } do
      local before = #lines
      local token, message, details = sign_in(tenant, given)
      assert.is_nil(token)
      assert.is_truthy(message:find("signed in by identity", 1, true))
      assert.are.equal("TenantMismatch", details.code)
      assert.is_false(details.is_transient)
      assert.are.equal(before + 1, #lines)
    end
  end)

  it("prefers its own options for tenant and scope", function()
    local given = { tenant = guid, scope = "https://x.test:8443/a-b_c~d/.default" }
    local sign_in, lines = scripted(printed(), 0, given)
    assert.are.equal(opaque, (sign_in(world_of().ask)))
    local wanted = "--resource 'https://x.test:8443/a-b_c~d' --tenant '" .. guid .. "' "
    assert.is_truthy(lines[1]:find(wanted, 1, true))
  end)

  it("reads the expiry that is not in local time", function()
    local at = 1767229200
    local function left(fields)
      local token, expires_in = scripted(printed(fields), 0)(world_of().ask)
      assert.are.equal(opaque, token)
      return expires_in
    end
    local left_at = at - 1767225600.25
    assert.are.equal(left_at, left { expires_on = at, expiresOn = "2001-01-01 00:00:00.000000" })
    assert.are.equal(left_at, left { expires_on = tostring(at) })
    assert.are.equal(0, left { expires_on = 1 })
  end)

  it("reports no expiry that cannot be read", function()
    for _, fields in ipairs {
      {},
      { expires_on = "soon" },
      { expires_on = "nan" },
      { expires_on = "1e999" },
      { expires_on = {} },
      { expires_on = -5 },
      { expiresOn = "2026-10-25 02:30:00.000000" },
    } do
      local token, expires_in = scripted(printed(fields), 0)(world_of().ask)
      assert.are.equal(opaque, token)
      assert.is_nil(expires_in)
    end
  end)

  it("gives the cache the expiry in the token where an old az tells local time only", function()
    local at = 1767229200
    local token = ("e30.%s.c2ln"):format(base64url.encode(('{"exp":%d}'):format(at)))
    local old = { accessToken = token, expiresOn = "2001-01-01 00:00:00.000000" }
    local sign_in, lines = scripted(printed(old), 0)
    local provider, world = cached(sign_in), world_of()
    for _ = 1, 2 do
      local given, expires_in = provider(world.ask)
      assert.are.equal(token, given)
      assert.are.equal(at - 1767225600.25, expires_in)
    end
    assert.are.equal(1, #lines)
  end)

  it("finds the token behind warnings", function()
    for _, output in ipairs {
      "WARNING: You have 2 updates available.\n" .. printed(),
      '{not json}\n{"a": 1}\nWARNING: {}\n  ' .. printed() .. "\nWARNING: done\n",
      ("WARNING: old\r\n"):rep(100) .. printed() .. "\r\n",
    } do
      assert.are.equal(opaque, (scripted(output, 0)(world_of().ask)))
    end
  end)

  it("reports an output without a token, and does not quote it", function()
    for _, output in ipairs {
      "",
      "hush",
      "[]",
      "null",
      "{",
      ("{"):rep(100000),
      ("{\n"):rep(100000),
      ("\n"):rep(200000),
      '{"accessToken": null, "hush": 1}',
      '{"accessToken": "hush\\nhush"}',
      '{"accessToken": ""}',
      '{"accessToken": ["hush"]}',
      '{"accessToken": "hush", "tokenType": "pop"}',
      printed() .. ("\nhush"):rep(60000),
    } do
      local token, message, details = scripted(output, 0)(world_of().ask)
      assert.is_nil(token)
      assert.is_truthy(message:find "^the Azure CLI's output holds no token")
      token_world.assert_nowhere("hush", { message, details })
      assert.is_false(details.is_transient)
    end
  end)

  it("gives advice for each failure", function()
    local aadsts = "ERROR: AADSTS53003: Access has been blocked. Trace ID: 1\nTo re-run az login"
    local traceback = 'Traceback (most recent call last):\n  File "/usr/bin/az", line 1, '
      .. "in <module>\n    import azure\nModuleNotFoundError: No module named 'azure'\n"
    local crash = "WARNING: x\nERROR: The command failed with an unexpected error. Here is the "
      .. "traceback:\nERROR: 'homeTenantId'\nTraceback (most recent call last):\n  File \"x\", "
      .. "line 1, in y\nKeyError: 'homeTenantId'\nTo open an issue, please run: 'az feedback'\n"
    local multiline = "WARNING: x\n\27[91mERROR: The \27[1mtenant\27[0m is odd\ta\nTraceback hush"
    for _, case in ipairs {
      { 127, "sh: az: not found", "was not found: there is no program 'az'", "Install", false },
      { 126, "denied", "was not found", "Install", false },
      { 124, "", "did not answer within 30 s", nil, true },
      { 1, "ERROR: Please run 'az login' to setup account.", "nobody is signed in", "az login" },
      { 1, aadsts, "AADSTS53003: Access has been blocked.", "Conditional Access blocked", false },
      { 1, "AADSTS70043: The token is expired.", "AADSTS70043: The token", "az login", false },
      { 1, multiline, "the Azure CLI failed: The tenant is odd a", nil, false },
      {
        1,
        traceback,
        "the Azure CLI failed: ModuleNotFoundError: No module named 'azure'",
        nil,
        false,
      },
      { 1, crash, "the Azure CLI failed: KeyError: 'homeTenantId'", nil, false },
      { 1, "", "the Azure CLI failed and did not say why", nil, false },
      { nil, "half", "the Azure CLI failed: half", nil, false },
      { 1, printed(), "the Azure CLI failed", nil, false },
    } do
      local code, output, said, hint, is_transient = case[1], case[2], case[3], case[4], case[5]
      local token, message, details = scripted(output, code)(world_of().ask)
      assert.is_nil(token)
      assert.is_truthy(message:find(said, 1, true), message)
      assert.is_nil(message:find "%c")
      token_world.assert_nowhere("hush", { message, details })
      token_world.assert_nowhere(opaque, { message, details })
      assert.are.equal(is_transient or false, details.is_transient)
      if hint then
        assert.is_truthy(details.hint:find(hint, 1, true))
      end
    end
    local _, _, details = scripted(aadsts, 1)(world_of().ask)
    assert.are.equal("53003", details.reason)
  end)

  it("gives the Azure CLI the time that is left until the deadline", function()
    for left, limit in pairs { [2.5] = "3", [31] = "30" } do
      local world = world_of()
      world.ask.deadline = world.ask.now() + left
      local sign_in, lines = scripted("", 124)
      local message = select(2, sign_in(world.ask))
      assert.is_truthy(lines[1]:find("limit='timeout " .. limit .. "'", 1, true), lines[1])
      assert.equal("the Azure CLI did not answer within " .. limit .. " s", message)
    end
  end)

  it("removes everything like a token from the Azure CLI's error", function()
    local jwt = "eyJhbGciOiJub25lIn0.eyJvaWQiOiJodXNoIn0.hush-hush-hush-hush"
    for _, output in ipairs {
      "ERROR: bad " .. jwt,
      "AADSTS1: bad " .. jwt,
      ("x"):rep(290) .. " " .. jwt,
    } do
      local _, message, details = scripted(output, 1)(world_of().ask)
      token_world.assert_nowhere("eyJ", { message, details })
      token_world.assert_nowhere("hush", { message, details })
      assert.is_true(#message < 400)
    end
  end)

  it("survives any behaviour of the function run", function()
    for _, run in ipairs {
      function()
        error "hush"
      end,
      function() end,
      function()
        return 5, 0
      end,
    } do
      local token, message, details = azure_cli { run = run }(world_of().ask)
      assert.is_nil(token)
      token_world.assert_nowhere("hush", message)
      assert.is_false(details.is_transient)
    end
    local thread = coroutine.create(azure_cli {
      run = function()
        return coroutine.yield "waiting"
      end,
    })
    assert.are.same({ true, "waiting" }, { coroutine.resume(thread, world_of().ask) })
    local _, token = coroutine.resume(thread, printed(), 0)
    assert.are.equal(opaque, token)
  end)

  it("takes the token from a function run that returns no exit code", function()
    local sign_in = azure_cli {
      run = function()
        return printed()
      end,
    }
    assert.are.equal(opaque, (sign_in(world_of().ask)))
  end)

  it("does not run the Azure CLI for a claims challenge, which it cannot answer", function()
    local sign_in, lines = scripted(printed(), 0)
    local token, message = sign_in(world_of({ claims = "{}" }).ask)
    assert.is_nil(token)
    assert.is_truthy(message:find("az login", 1, true))
    assert.are.same({}, lines)
  end)

  it("refuses a token for the Graph of another cloud", function()
    local sign_in, lines = scripted(printed(), 0)
    local token, message = sign_in(world_of({ cloud = "china" }).ask)
    assert.is_nil(token)
    assert.is_truthy(message:find("the scope is that of the cloud 'global'", 1, true), message)
    assert.are.same({}, lines)
  end)

  it("raises for a caller's mistake at the caller's line", function()
    mistakes.assert_refused("azure_cli", azure_cli, {
      ["did you mean 'tenant'?"] = { tenent = guid },
      ["option 'tenant' must be a tenant id or a domain"] = { tenant = "a b" },
      ["option 'tenant' must be the id or a domain of one tenant"] = { tenant = "common" },
      ["option 'timeout' must be above 0"] = { timeout = 0 },
      ["option 'command' must be the name or path of a program"] = { command = "-az" },
      ["option 'scope' must be an https URL"] = { scope = "https://x.test/'" },
    })
  end)
end)
