-- A request to a token endpoint: its form and its URL, and what is accepted as a token, for any
-- behaviour of the network.

local cjson = require "cjson.safe"
local endpoint = require "autopilot.token.endpoint"
local oauth_request = require "support.oauth_request"
local token_world = require "support.token_world"

local refusal, send, secret = oauth_request.refusal, oauth_request.send, oauth_request.secret

describe("autopilot.token.authority: a form", function()
  it("has every value percent-encoded, in the order of the names", function()
    assert.are.equal(
      "a=&b=%20%26%3D%2B%25%2F%0A%C3%A4&c-d_e.f~g=AZaz09-_.~&x%26%2F=%00",
      endpoint.encode_form {
        ["x&/"] = "\0",
        ["c-d_e.f~g"] = "AZaz09-_.~",
        b = " &=+%/\n\195\164",
        a = "",
      }
    )
  end)

  it("can be decoded again, by the rules of forms", function()
    local form = { client_secret = secret, scope = "https://graph.microsoft.com/.default" }
    for byte = 0, 255 do
      form.every = (form.every or "") .. string.char(byte)
    end
    assert.are.same(form, token_world.form(endpoint.encode_form(form)))
  end)
end)

describe("autopilot.token.authority: a request", function()
  it("is one POST of the form to the tenant's endpoint, with timeouts and an id", function()
    local world = token_world.scripted { token_world.granted() }
    send(world.ask, { tenant = "contoso.test" })
    local sent = world.requests[1]
    assert.are.equal("POST", sent.method)
    assert.are.equal("https://login.microsoftonline.com/contoso.test/oauth2/v2.0/token", sent.url)
    assert.are.equal("application/x-www-form-urlencoded", sent.headers["Content-Type"])
    assert.is_truthy(sent.headers["client-request-id"]:match "^%x+%-%x+%-4%x+%-%x+%-%x+$")
    assert.are.same({ connect = 10, total = 30 }, sent.timeout)
    assert.are.same(oauth_request.form, token_world.form(sent.body))
  end)

  it("sends claims unchanged", function()
    local claims = '{"access_token":{"nbf":{"essential":true,"value":"1&2"}}}'
    local world = token_world.scripted({ token_world.granted() }, { claims = claims })
    send(world.ask)
    assert.are.equal(claims, token_world.form(world.requests[1].body).claims)
  end)

  it("uses http to this machine only, and refuses a tenant that is a path", function()
    local function sign_in(world, authority, tenant)
      local checked = { authority = authority, tenant = tenant, getenv = function() end }
      return oauth_request.sign_in(world.ask, function()
        return { client_secret = secret }
      end, checked)
    end
    for _, wrong in ipairs {
      { "http://login.microsoftonline.com", "contoso" },
      { "http://169.254.169.254", "contoso" },
      { "https://login.microsoftonline.com/evil", "contoso" },
      { "https://login.microsoftonline.com", "a/b" },
      { "https://login.microsoftonline.com", ".." },
    } do
      local world = token_world.scripted {}
      local token, message = sign_in(world, wrong[1], wrong[2])
      assert.is_nil(token)
      assert.is_truthy(message:find " must be ")
      assert.are.equal(0, #world.requests)
    end
    local world = token_world.scripted { token_world.granted() }
    assert.is_truthy(sign_in(world, "http://127.0.0.1:8080", "contoso"))
  end)
end)

describe("autopilot.token.authority: a token", function()
  local function read(fields)
    local world = token_world.scripted { token_world.granted(fields) }
    return send(world.ask)
  end

  it("has its lifetime in seconds, as a number or text", function()
    for _, value in ipairs { 3599, "3599", "3599.0" } do
      local token, expires_in, extra =
        read { expires_in = value, refresh_in = value, refresh_token = "again" }
      assert.are.equal("opaque-token-0123456789", token)
      assert.are.equal(3599, expires_in)
      assert.are.same({ refresh_in = 3599, refresh_token = "again" }, extra)
    end
  end)

  it("has no lifetime if the value is invalid", function()
    for _, value in ipairs {
      "",
      "soon",
      "-1",
      "0x10",
      "1e3",
      ("9"):rep(400),
      0,
      -5,
      true,
      cjson.null,
      { 1 },
    } do
      local token, expires_in, extra =
        read { expires_in = value, refresh_in = value, refresh_token = 5 }
      assert.are.equal("opaque-token-0123456789", token)
      assert.is_nil(expires_in)
      assert.are.same({}, extra)
    end
    local world = token_world.scripted {
      { status = 200, body = '{"access_token":"t","expires_in":1e999,"refresh_in":NaN}' },
    }
    local token, expires_in, extra = send(world.ask)
    assert.are.same({ "t", nil, {} }, { token, expires_in, extra })
  end)

  it("must be text without control characters, of the type bearer", function()
    for _, fields in ipairs {
      { access_token = "" },
      { access_token = "a\r\nb" },
      { access_token = "a\0" },
      { access_token = "a b" },
      { access_token = "\195\164" },
      { access_token = 5 },
      { access_token = cjson.null },
      { access_token = { "a" } },
      { token_type = "pop" },
      { token_type = 5 },
    } do
      local token, message, details = read(fields)
      assert.is_nil(token)
      assert.is_truthy(message:find "holds no token that can be used")
      assert.is_false(details.is_transient)
    end
    assert.is_truthy((read { token_type = "bearer" }))
  end)

  it("is taken from an answer whose error and type are null", function()
    assert.are.equal(
      "opaque-token-0123456789",
      (read { error = cjson.null, token_type = cjson.null })
    )
  end)
end)

describe("autopilot.token.authority: a network", function()
  it("that fails allows another attempt, and says why", function()
    local message, details = refusal { network = { stage = "tls", message = "no cert\nfor it" } }
    assert.are.equal("the token endpoint could not be reached: no cert for it", message)
    assert.is_true(details.is_transient)
  end)

  it("that fails has the hint of its stage, as at Graph, for the token endpoint", function()
    local function hint(network)
      return select(2, refusal { network = network }).hint
    end
    local found = hint { stage = "resolve", message = "no such name" }
    assert.is_truthy(found:find "^The token endpoint's name was not found", found)
    assert.is_truthy(found:find("check the name in authority or AZURE_AUTHORITY_HOST,", 1, true))
    found = hint { stage = "proxy", message = "refused (proxy set by HTTPS_PROXY)" }
    assert.is_truthy(found:find("^The proxy that HTTPS_PROXY names", 1), found)
    found = hint { stage = "tls", message = "certificate is not yet valid" }
    assert.is_truthy(found:find "^The token endpoint's certificate is not yet valid", found)
    found = hint { stage = "resolve", name = "DEADLINE", message = "the deadline passed" }
    assert.equal("The request to the token endpoint was not sent: the deadline passed.", found)
    found = hint { stage = "receive", message = "reset" }
    assert.equal("Check network, DNS, proxies and certificates.", found)
  end)

  it("that breaks after the status leaves no token", function()
    local world = token_world.over(function()
      return { status = 200, headers = {}, body = '{"access_token":"abc' }, { message = "reset" }
    end)
    local token, message, details = send(world.ask)
    assert.is_nil(token)
    assert.is_truthy(message:find "reset$")
    assert.is_true(details.is_transient)
  end)

  it("of the user may return or raise any value", function()
    for _, returned in ipairs {
      {},
      { nil, "text" },
      { nil, { message = {} } },
      { "text" },
      { {} },
      { { status = "200" } },
      { { status = 200, body = 5, headers = 5 } },
      { { status = 429, headers = { ["retry-after"] = 7 } } },
    } do
      local world = token_world.over(function()
        return returned[1], returned[2]
      end)
      local token, message, details = send(world.ask)
      assert.is_nil(token)
      assert.are.equal("string", type(message))
      assert.are.equal("boolean", type(details.is_transient))
    end
    local world = token_world.over(function(sent)
      error("cannot send " .. sent.body)
    end)
    local _, message = send(world.ask)
    assert.is_truthy(message:find "^the transport failed: ")
    token_world.assert_nowhere("4f6c1d0e9a7b", message)
  end)

  it("may yield", function()
    local world = token_world.over(function()
      coroutine.yield "waiting"
      return token_world.granted()
    end)
    local thread = coroutine.create(send)
    assert.are.same({ true, "waiting" }, { coroutine.resume(thread, world.ask) })
    assert.are.equal("opaque-token-0123456789", select(2, coroutine.resume(thread)))
  end)
end)
