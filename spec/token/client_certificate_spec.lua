-- Signing in with a certificate: the assertion, and the answer to it.

local base64url = require "autopilot.base.base64url"
local certificate_world = require "support.certificate_world"
local client_certificate = require("autopilot.token.application").client_certificate
local mistakes = require "support.mistakes"
local read_key_pair = require "autopilot.token.key_pair"
local token_world = require "support.token_world"

local assertion_of, parts_of, verify =
  certificate_world.assertion_of, certificate_world.parts_of, certificate_world.verify
local assert_safe, emulated = certificate_world.assert_safe, certificate_world.emulated
local path, provider = certificate_world.path, certificate_world.provider

setup(certificate_world.make)
teardown(certificate_world.remove)

describe("autopilot.token.client_certificate", function()
  it("signs in with an assertion that openssl verifies", function()
    local world = emulated()
    local sign_in = provider { private_key = path "key.pem" }
    local token, expires_in = sign_in(world.ask)
    assert.are.equal("string", type(token))
    assert.are.equal(3599, expires_in)
    local form = token_world.form(world.requests[1].body)
    assert.are.equal("app", form.client_id)
    assert.are.equal("client_credentials", form.grant_type)
    assert.are.equal(
      "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
      form.client_assertion_type
    )
    local header, claims = parts_of(form.client_assertion)
    assert.are.same({
      alg = "PS256",
      typ = "JWT",
      ["x5t#S256"] = base64url.encode(certificate_world.text "thumbprint"),
    }, header)
    local id = claims.jti
    assert.is_truthy(id:match "^%x+%-%x+%-4%x+%-%x+%-%x+$")
    assert.are.same({
      aud = "https://login.microsoftonline.com/contoso/oauth2/v2.0/token",
      iss = "app",
      sub = "app",
      jti = id,
      nbf = 1767225600,
      exp = 1767226200,
    }, claims)
  end)

  it("never uses the same assertion twice", function()
    local world = emulated()
    local sign_in = provider { private_key = path "key.pem" }
    local seen = {}
    for _ = 1, 5 do
      assert.is_truthy((sign_in(world.ask)))
      local header, claims, _, signature = parts_of(assertion_of(world))
      assert.are.equal("PS256", header.alg)
      assert.is_nil(seen[claims.jti] or seen[signature])
      seen[claims.jti], seen[signature] = true, true
    end
  end)

  it("names the endpoint of its own authority as the audience", function()
    local world = emulated()
    provider {
      private_key = path "key.pem",
      authority = "https://login.example.test:8443",
      tenant = "other.test",
      client_id = 'quote"\\app',
    }(world.ask)
    local _, claims = parts_of(assertion_of(world))
    assert.are.equal("https://login.example.test:8443/other.test/oauth2/v2.0/token", claims.aud)
    assert.are.same({ 'quote"\\app', 'quote"\\app' }, { claims.iss, claims.sub })
  end)

  it("signs with a key whose length is no multiple of eight bits", function()
    local world = token_world.scripted { token_world.granted(), last = "repeat" }
    local sign_in = provider {
      certificate = path "odd_certificate.pem",
      private_key = path "odd.pem",
    }
    for _ = 1, 4 do
      assert.is_truthy((sign_in(world.ask)))
      local _, _, text, signature = parts_of(assertion_of(world))
      assert.is_true(verify("odd_public.pem", text, signature))
      assert.is_false(verify("odd_public.pem", text .. "x", signature))
    end
  end)

  it("signs the same text differently each time (PSS)", function()
    local text = certificate_world.text "together.pem"
    local pair = read_key_pair { certificate = text }
    local first, second = pair.sign "text", pair.sign "text"
    assert.are_not.equal(first, second)
    for _, signature in ipairs { first, second } do
      assert.is_true(verify("public.pem", "text", signature))
    end
  end)

  it("sends nothing once the certificate has expired", function()
    local world = emulated()
    world.ask.now = function()
      return 4000000000
    end
    local token, message = provider({ private_key = path "key.pem" })(world.ask)
    assert.is_nil(token)
    assert.is_truthy(message:find "expired")
    assert.are.equal(0, #world.requests)
  end)

  it("retries while the certificate is not known yet, with a new assertion each time", function()
    local unknown = token_world.refused(401, "invalid_client", 700027, "Not registered.")
    local world = token_world.scripted { unknown, token_world.granted() }
    assert.is_truthy((provider { private_key = path "key.pem" }(world.ask)))
    local first = token_world.form(world.requests[1].body).client_assertion
    assert.are_not.equal(first, assertion_of(world))
    assert.are.same({ 2 }, world.slept)
  end)

  it("is refused where the deadline would pass before the next attempt", function()
    local unknown = token_world.refused(401, "invalid_client", 700027, "Not registered.")
    local world = token_world.scripted { unknown, unknown }
    world.ask.deadline = world.time + 5
    local token, _, details = provider({ private_key = path "key.pem" })(world.ask)
    assert.is_nil(token)
    assert.are.equal("700027", details.reason)
    assert.are.same({ 2, 3 }, world.slept)
  end)

  it("says how to install luaossl if it is missing", function()
    local saved = package.loaded["openssl.pkey"]
    package.loaded["openssl.pkey"] = nil
    package.preload["openssl.pkey"] = function()
      error "not here"
    end
    local token, message, details = provider({ private_key = path "key.pem" })(emulated().ask)
    package.preload["openssl.pkey"] = nil
    package.loaded["openssl.pkey"] = saved
    assert.is_nil(token)
    assert.is_truthy(message:find("lua-luaossl", 1, true))
    assert.is_false(details.is_transient)
  end)

  it("never shows its assertion", function()
    for _, where in ipairs { "body", "network" } do
      local sent
      local world = token_world.over(function(request)
        sent = token_world.form(request.body).client_assertion
        if where == "network" then
          return nil, { message = "cannot send " .. sent }
        end
        return token_world.refused(400, "invalid_client", 7000215, "Bad: " .. sent)
      end)
      local results = { provider({ private_key = path "key.pem" })(world.ask) }
      assert.is_nil(results[1])
      for part in sent:gmatch "[^.]+" do
        token_world.assert_nowhere(part, results)
      end
    end
  end)

  it("raises for a caller's mistake, at the caller's line and without key or passphrase", function()
    local key = certificate_world.text "key.pem"
    local messages = mistakes.assert_refused("client_certificate", client_certificate, {
      ["did you mean 'private_key'?"] = { client_id = "a", certificate = key, privat_key = key },
      ["option 'certificate' is required"] = { client_id = "a", private_key = key },
      ["option 'client_id' is required"] = { certificate = key },
      ["'passphrase' must be"] = { client_id = "a", certificate = key, passphrase = { "hush" } },
      ["'private_key' must be"] = { client_id = "a", certificate = key, private_key = "" },
    })
    assert_safe(messages)
  end)
end)
