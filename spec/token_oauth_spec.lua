local cjson = require "cjson.safe"
local oauth = require "autopilot.token.oauth"
local token_world = require "support.token_world"

local secret = "h~u s+h/=&%hush-4f6c1d0e9a7b"

local function request(given)
  local fields = {
    authority = "https://login.microsoftonline.com",
    tenant = "contoso",
    form = { grant_type = "client_credentials", client_secret = secret },
  }
  for name, value in pairs(given or {}) do
    fields[name] = value
  end
  return fields
end

--- Message and details of the refusal of one request that is answered like this.
local function refusal(answer, given)
  local world = token_world.scripted({ answer }, given)
  local token, message, details = oauth.request(world.ask, request())
  assert.is_nil(token)
  assert.are.equal("string", type(message))
  assert.are.equal("boolean", type(details.is_transient))
  assert(not message:find "%c" and #message <= 400, message)
  return message, details
end

describe("autopilot.token.oauth: a form", function()
  it("has every value percent-encoded, in the order of the names", function()
    assert.are.equal(
      "a=&b=%20%26%3D%2B%25%2F%0A%C3%A4&c-d_e.f~g=AZaz09-_.~&x%26%2F=%00",
      oauth.encode_form {
        ["x&/"] = "\0",
        ["c-d_e.f~g"] = "AZaz09-_.~",
        b = " &=+%/\n\195\164",
        a = "",
      }
    )
  end)

  it("is read back as it was, by the rules of forms", function()
    local form = { client_secret = secret, scope = "https://graph.microsoft.com/.default" }
    for byte = 0, 255 do
      form.every = (form.every or "") .. string.char(byte)
    end
    assert.are.same(form, token_world.form(oauth.encode_form(form)))
  end)
end)

describe("autopilot.token.oauth: a request", function()
  it("is one POST of the form to the tenant's endpoint, with timeouts and an id", function()
    local world = token_world.scripted { token_world.granted() }
    oauth.request(world.ask, request { tenant = "contoso.test" })
    local sent = world.requests[1]
    assert.are.equal("POST", sent.method)
    assert.are.equal("https://login.microsoftonline.com/contoso.test/oauth2/v2.0/token", sent.url)
    assert.are.equal("application/x-www-form-urlencoded", sent.headers["Content-Type"])
    assert.is_truthy(sent.headers["client-request-id"]:match "^%x+%-%x+%-4%x+%-%x+%-%x+$")
    assert.are.same({ connect = 10, total = 30 }, sent.timeout)
    assert.are.same(request().form, token_world.form(sent.body))
  end)

  it("sends claims as they are", function()
    local claims = '{"access_token":{"nbf":{"essential":true,"value":"1&2"}}}'
    local world = token_world.scripted({ token_world.granted() }, { claims = claims })
    oauth.request(world.ask, request())
    assert.are.equal(claims, token_world.form(world.requests[1].body).claims)
  end)

  it("goes nowhere over http but to this machine, and to no tenant that is a path", function()
    for _, wrong in ipairs {
      { authority = "http://login.microsoftonline.com" },
      { authority = "http://169.254.169.254" },
      { authority = "https://login.microsoftonline.com/evil" },
      { tenant = "a/b" },
      { tenant = ".." },
    } do
      local world = token_world.scripted {}
      local token, message = oauth.request(world.ask, request(wrong))
      assert.is_nil(token)
      assert.is_truthy(message:find " must be ")
      assert.are.equal(0, #world.requests)
    end
    local world = token_world.scripted { token_world.granted() }
    assert.is_truthy(oauth.request(world.ask, request { authority = "http://127.0.0.1:8080" }))
  end)
end)

describe("autopilot.token.oauth: a token", function()
  local function read(fields)
    local world = token_world.scripted { token_world.granted(fields) }
    return oauth.request(world.ask, request())
  end

  it("comes with its seconds, whether number or text", function()
    for _, value in ipairs { 3599, "3599", "3599.0" } do
      local token, expires_in, extra =
        read { expires_in = value, refresh_in = value, refresh_token = "again" }
      assert.are.equal("opaque-token-0123456789", token)
      assert.are.equal(3599, expires_in)
      assert.are.same({ refresh_in = 3599, refresh_token = "again" }, extra)
    end
  end)

  it("comes without seconds when these are none", function()
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
    local token, expires_in, extra = oauth.request(world.ask, request())
    assert.are.same({ "t", nil, {} }, { token, expires_in, extra })
  end)

  it("must be text without control characters, for a bearer", function()
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
end)

describe("autopilot.token.oauth: a refusal", function()
  it("is told without trace clutter, with numbers, ids and a hint", function()
    local message, details = refusal(
      token_world.refused(401, "invalid_client", 7000215, "Invalid client secret provided.")
    )
    assert.are.equal("AADSTS7000215: Invalid client secret provided.", message)
    assert.are.same({
      code = "invalid_client",
      reason = "7000215",
      correlation_id = "11111111-2222-3333-4444-555555555555",
      trace_id = "66666666-7777-8888-9999-000000000000",
      hint = "The client secret is wrong: give the secret's value, not its id.",
      is_transient = false,
    }, details)
  end)

  it("has its hint for every well-known number", function()
    for number, words in pairs {
      [7000215] = "secret is wrong",
      [7000222] = "secret has expired",
      [700016] = "does not know this application",
      [90002] = "no such tenant",
      [65001] = "consent",
      [53003] = "Conditional Access",
      [700027] = "certificate is not known",
    } do
      local _, details = refusal(token_world.refused(400, "x", number, "."), { sleep = false })
      assert.is_truthy(details.hint:find(words, 1, true))
      assert.are.equal(("%d"):format(number), details.reason)
      assert.are.equal(number == 700027, details.is_transient)
    end
    local _, details = refusal(token_world.refused(400, "x", 12345, "."))
    assert.is_nil(details.hint)
  end)

  it("has the number of the description when no list is there", function()
    local described =
      { error = "invalid_grant", error_description = "AADSTS65001: No.\r\nTrace ID: x" }
    local message, details = refusal(token_world.answer(400, described))
    assert.are.equal("AADSTS65001: No.", message)
    assert.are.equal("65001", details.reason)
  end)

  it("is one bounded line, whatever is written there", function()
    for _, description in ipairs {
      ("x"):rep(100000),
      "a\r\nb",
      "\r\n\r\na\0b\27[31m",
      "",
      " Trace ID: 1",
      5,
      cjson.null,
      { "a" },
    } do
      refusal(token_world.answer(400, { error = "e", error_description = description }))
    end
  end)

  it("takes nothing for a fact that is none", function()
    local _, details = refusal(token_world.answer(400, {
      error = "two words\n",
      error_codes = { "7000215", {} },
      trace_id = "not an id",
      correlation_id = { 1 },
      error_description = "AADSTS" .. ("1"):rep(50) .. ": x",
    }))
    assert.are.same({ is_transient = false }, details)
    _, details = refusal(token_world.answer(400, { error = { code = 1 }, error_codes = { 1.5 } }))
    assert.are.same({ is_transient = false }, details)
  end)

  it("survives answers that are no JSON, cut, huge, or JSON of another shape", function()
    for _, body in ipairs {
      "",
      "<html><title>502</title></html>",
      '{"error":"invalid_client","error_descr',
      '{"access_token":"abc',
      "[]",
      "null",
      "5",
      '"text"',
      "{}",
      ("["):rep(5000),
      '{"access_token":"' .. ("a"):rep(2000000) .. '"}',
      "\0\1\2\255",
    } do
      for _, status in ipairs { 200, 204, 302, 400, 401, 404, 418, 429, 500, 502, 503 } do
        local message = refusal { status = status, body = body }
        assert.is_truthy(message:find "^the token endpoint")
      end
    end
  end)

  it("is a 200 that says error, too", function()
    local message, details = refusal(token_world.answer(200, { error = "no", access_token = "t" }))
    assert.are.equal("the token endpoint refuses: no", message)
    assert.are.equal("no", details.code)
  end)

  it("is a redirect, which is never followed", function()
    local world = token_world.scripted {
      { status = 307, headers = { Location = "https://evil.test/" } },
    }
    local token, message, details = oauth.request(world.ask, request())
    assert.is_nil(token)
    assert.is_truthy(message:find "redirect")
    assert.is_truthy(details.hint:find "proxies")
    assert.are.equal(1, #world.requests)
  end)

  it("says how long to wait: Retry-After, else 5 seconds, at most an hour", function()
    for told, expected in pairs {
      ["17"] = 17,
      ["2.5"] = 2.5,
      ["0"] = 0,
      ["99999"] = 3600,
      ["rubbish"] = 5,
      ["-4"] = 5,
      ["Thu, 01 Jan 2026 00:01:00 GMT"] = 59.75,
    } do
      for _, status in ipairs { 429, 503 } do
        local _, details = refusal { status = status, headers = { ["Retry-After"] = told } }
        assert.are.equal(expected, details.retry_after)
        assert.is_true(details.is_transient)
      end
    end
    local _, details = refusal { status = 500 }
    assert.are.equal(5, details.retry_after)
    _, details = refusal { status = 400, headers = { ["Retry-After"] = "17" } }
    assert.is_nil(details.retry_after)
  end)

  it("is worth another attempt where the service says it is busy", function()
    for _, code in ipairs { "temporarily_unavailable", "server_error" } do
      local _, details = refusal(token_world.answer(400, { error = code }))
      assert.is_true(details.is_transient)
    end
    local _, details = refusal { status = 408 }
    assert.is_true(details.is_transient)
  end)
end)

describe("autopilot.token.oauth: a certificate that is not known yet", function()
  local unknown = token_world.refused(401, "invalid_client", 700027, "Not registered.")

  it("is tried again, with a form made anew, until it is", function()
    local world = token_world.scripted { unknown, unknown, token_world.granted() }
    local made = 0
    local token = oauth.request(
      world.ask,
      request {
        form = function()
          made = made + 1
          return { client_assertion = "assertion-" .. made }
        end,
      }
    )
    assert.is_truthy(token)
    assert.are.same({ 2, 4 }, world.slept)
    assert.is_truthy(world.requests[3].body:find("assertion-3", 1, true))
  end)

  it("is given up after 14 seconds", function()
    local world = token_world.scripted { unknown, last = "repeat" }
    local token, message, details = oauth.request(world.ask, request())
    assert.is_nil(token)
    assert.are.equal("AADSTS700027: Not registered.", message)
    assert.is_true(details.is_transient)
    assert.are.same({ 2, 4, 8 }, world.slept)
    assert.are.equal(4, #world.requests)
  end)

  it("is the only refusal that is", function()
    local world =
      token_world.scripted { token_world.refused(401, "invalid_client", 7000215, "Wrong.") }
    oauth.request(world.ask, request())
    assert.are.same({}, world.slept)
  end)

  it("stops when no form can be made any more", function()
    local world = token_world.scripted { unknown }
    local made = 0
    local token, message, details = oauth.request(
      world.ask,
      request {
        form = function()
          made = made + 1
          if made > 1 then
            return nil, "the key is gone"
          end
          return {}
        end,
      }
    )
    assert.are.same({ nil, "the key is gone" }, { token, message })
    assert.is_false(details.is_transient)
  end)
end)

describe("autopilot.token.oauth: a network", function()
  it("that fails is worth another attempt, and says why", function()
    local message, details = refusal { network = { stage = "tls", message = "no cert\nfor it" } }
    assert.are.equal("the token endpoint could not be reached: no cert for it", message)
    assert.is_true(details.is_transient)
  end)

  it("that breaks after the status leaves no token", function()
    local world = token_world.over(function()
      return { status = 200, headers = {}, body = '{"access_token":"abc' }, { message = "reset" }
    end)
    local token, message, details = oauth.request(world.ask, request())
    assert.is_nil(token)
    assert.is_truthy(message:find "reset$")
    assert.is_true(details.is_transient)
  end)

  it("of somebody's own survives whatever it returns or raises", function()
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
      local token, message, details = oauth.request(world.ask, request())
      assert.is_nil(token)
      assert.are.equal("string", type(message))
      assert.are.equal("boolean", type(details.is_transient))
    end
    local world = token_world.over(function(sent)
      error("cannot send " .. sent.body)
    end)
    local _, message = oauth.request(world.ask, request())
    assert.is_truthy(message:find "^the transport failed: ")
    token_world.assert_nowhere("4f6c1d0e9a7b", message)
  end)

  it("may yield", function()
    local world = token_world.over(function()
      coroutine.yield "waiting"
      return token_world.granted()
    end)
    local thread = coroutine.create(oauth.request)
    assert.are.same({ true, "waiting" }, { coroutine.resume(thread, world.ask, request()) })
    assert.are.equal("opaque-token-0123456789", select(2, coroutine.resume(thread)))
  end)
end)

describe("autopilot.token.oauth: the form's secrets", function()
  local encoded = oauth.encode_form({ x = secret }):sub(3)

  it("come back in nothing that is said, however the endpoint echoes them", function()
    for _, echo in ipairs { secret, encoded, cjson.encode(secret), "client_secret=" .. encoded } do
      for _, answer in ipairs {
        token_world.refused(401, "invalid_client", 7000215, "Wrong: " .. echo .. "."),
        token_world.answer(400, {
          error = echo,
          error_description = ("x"):rep(290) .. echo,
          trace_id = echo,
          correlation_id = echo,
          error_codes = { echo },
        }),
        { status = 502, body = echo, headers = { ["Retry-After"] = echo, Location = echo } },
        { network = { message = "cannot send " .. echo } },
      } do
        local message, details = refusal(answer)
        for _, part in ipairs { secret, encoded, "4f6c1d0e9a7b" } do
          token_world.assert_nowhere(part, message)
          token_world.assert_nowhere(part, details)
        end
      end
    end
  end)

  it("come back as no code and no id either", function()
    for _, plain in ipairs { "plain-secret-0123", "0f5c6c9a-0000-4000-8000-00000000abcd" } do
      local answer = { error = plain, trace_id = plain, correlation_id = plain }
      local world = token_world.scripted { token_world.answer(400, answer) }
      local _, message, details =
        oauth.request(world.ask, request { form = { client_secret = plain } })
      token_world.assert_nowhere(plain, message)
      assert.are.same({ is_transient = false }, details)
    end
  end)

  it("are those that the provider names, too", function()
    local world = token_world.scripted { token_world.refused(400, "e", 1, "echo other-one-0123") }
    local _, message = oauth.request(world.ask, request { secrets = { "other-one-0123" } })
    token_world.assert_nowhere("other-one", message)
  end)
end)
