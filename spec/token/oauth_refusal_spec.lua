-- A refusal of a token endpoint is reported in one line, with a hint and the time to wait.

local cjson = require "cjson.safe"
local oauth_request = require "support.oauth_request"
local provider = require "autopilot.token.provider"
local token_world = require "support.token_world"

local refusal, send, sign_in = oauth_request.refusal, oauth_request.send, oauth_request.sign_in

describe("autopilot.token.authority: a refusal", function()
  it("is reported without trace ids in the message, with numbers, ids and a hint", function()
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

  it("reports an unexpected content encoding", function()
    for status = 200, 503, 303 do
      local message, details = refusal {
        status = status,
        headers = { ["content-encoding"] = "gzip" },
        body = "\31\139\8",
      }
      assert.is_truthy(message:find("encoded as gzip, which was not asked for", 1, true), message)
      assert.is_truthy(details.hint:find("prox", 1, true))
      assert.are.equal(status == 503, details.is_transient)
    end
  end)

  it("has a hint for every well-known number", function()
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

  it("has the number of the description if there is no list", function()
    local described =
      { error = "invalid_grant", error_description = "AADSTS65001: No.\r\nTrace ID: x" }
    local message, details = refusal(token_world.answer(400, described))
    assert.are.equal("AADSTS65001: No.", message)
    assert.are.equal("65001", details.reason)
  end)

  it("is one line of bounded length, for any content", function()
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

  it("omits fields of an unusual form", function()
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

  it("survives answers that are not JSON, cut, huge, or JSON of another shape", function()
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

  it("may be a 200 with an error, too", function()
    local message, details = refusal(token_world.answer(200, { error = "no", access_token = "t" }))
    assert.are.equal("the token endpoint refuses: no", message)
    assert.are.equal("no", details.code)
  end)

  it("may be a redirect, which is never followed", function()
    local world = token_world.scripted {
      { status = 307, headers = { Location = "https://evil.test/" } },
    }
    local token, message, details = send(world.ask)
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

  it("may be retried if the service says it is busy", function()
    for _, code in ipairs { "temporarily_unavailable", "server_error" } do
      local _, details = refusal(token_world.answer(400, { error = code }))
      assert.is_true(details.is_transient)
    end
    local _, details = refusal { status = 408 }
    assert.is_true(details.is_transient)
  end)
end)

describe("autopilot.token.authority: a certificate that is not known yet", function()
  local unknown = token_world.refused(401, "invalid_client", 700027, "Not registered.")

  it("is tried again, with a new form each time, until it is", function()
    local world = token_world.scripted { unknown, unknown, token_world.granted() }
    local made = 0
    local token = sign_in(world.ask, function()
      made = made + 1
      return { client_assertion = "assertion-" .. made }
    end)
    assert.is_truthy(token)
    assert.are.same({ 2, 4 }, world.slept)
    assert.is_truthy(world.requests[3].body:find("assertion-3", 1, true))
  end)

  it("ends the attempts after 14 seconds", function()
    local world = token_world.scripted { unknown, last = "repeat" }
    local token, message, details = sign_in(world.ask, function()
      return {}
    end)
    assert.is_nil(token)
    assert.are.equal("AADSTS700027: Not registered.", message)
    assert.is_true(details.is_transient)
    assert.are.same({ 2, 4, 8 }, world.slept)
    assert.are.equal(4, #world.requests)
  end)

  it("is the only refusal that is retried", function()
    local world =
      token_world.scripted { token_world.refused(401, "invalid_client", 7000215, "Wrong.") }
    sign_in(world.ask, function()
      return {}
    end)
    assert.are.same({}, world.slept)
  end)

  it("ends the attempts when no form can be made any more", function()
    local world = token_world.scripted { unknown }
    local made = 0
    local token, message, details = sign_in(world.ask, function()
      made = made + 1
      provider.need(made == 1, "the key is gone")
      return {}
    end)
    assert.are.same({ nil, "the key is gone" }, { token, message })
    assert.is_false(details.is_transient)
  end)
end)
