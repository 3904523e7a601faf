local base64url = require "autopilot.base.base64url"
local cjson = require "cjson.safe"
local client_certificate = require "autopilot.token.client_certificate"
local key_files = require "support.key_files"
local mistakes = require "support.mistakes"
local overlay = require "support.overlay"
local read_key_pair = require "autopilot.token.key_pair"
local signer = require "autopilot.token.signer"
local token_world = require "support.token_world"

local nothing = token_world.getenv {}
local passphrase = key_files.passphrase
local folder

setup(function()
  folder = key_files.make()
end)

teardown(function()
  key_files.remove(folder)
end)

local function path(name)
  return folder .. "/" .. name
end

--- Header, claims, signed text and signature of an assertion.
local function parts_of(assertion)
  local header, claims, signature = assertion:match "^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$"
  return cjson.decode(base64url.decode(header)),
    cjson.decode(base64url.decode(claims)),
    header .. "." .. claims,
    base64url.decode(signature)
end

--- An emulated service whose application has the certificate: the openssl command is its judge.
local function emulated(given)
  return token_world.emulated({
    clients = {
      app = {
        verify = function(assertion)
          local header, _, text, signature = parts_of(assertion)
          return key_files.verify(folder, "public.pem", header.alg, text, signature)
        end,
      },
    },
  }, given)
end

local function provider(given)
  local options =
    overlay({ client_id = "app", getenv = nothing, certificate = path "certificate.pem" }, given)
  return client_certificate(options)
end

local function assertion_of(world)
  return token_world.form(world.requests[#world.requests].body).client_assertion
end

--- Fails unless nothing of key or passphrase is to be found.
local function assert_safe(value)
  for _, needle in ipairs { "hush", "PRIVATE", key_files.read(folder, "key.pem"):sub(60, 90) } do
    token_world.assert_nowhere(needle, value)
  end
end

describe("autopilot.token.client_certificate", function()
  for _, algorithm in ipairs { "PS256", "RS256" } do
    it("signs in with an assertion that openssl finds right: " .. algorithm, function()
      local world = emulated()
      local sign_in = provider { private_key = path "key.pem", algorithm = algorithm }
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
        alg = algorithm,
        typ = "JWT",
        ["x5t#S256"] = base64url.encode(key_files.read(folder, "thumbprint")),
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
  end

  it("uses PS256 by itself, and never the same assertion twice", function()
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
    for _, algorithm in ipairs { "PS256", "RS256" } do
      local sign_in = provider {
        certificate = path "odd_certificate.pem",
        private_key = path "odd.pem",
        algorithm = algorithm,
      }
      for _ = 1, 4 do
        assert.is_truthy((sign_in(world.ask)))
        local _, _, text, signature = parts_of(assertion_of(world))
        assert.is_true(
          key_files.verify(folder, "odd_public.pem", algorithm, text, signature),
          algorithm
        )
        assert.is_false(
          key_files.verify(folder, "odd_public.pem", algorithm, text .. "x", signature)
        )
      end
    end
  end)

  it("reads keys and certificates as text, and out of one file with others", function()
    local together = key_files.read(folder, "together.pem")
    for _, given in ipairs {
      { certificate = path "together.pem" },
      { certificate = together },
      { certificate = together:gsub("\n", "\r\n") },
      { private_key = path "traditional.pem" },
      {
        certificate = key_files.read(folder, "certificate.pem"),
        private_key = key_files.read(folder, "key.pem"),
      },
    } do
      local world = emulated()
      local token, message = provider(given)(world.ask)
      assert.are.equal("string", type(token), message)
    end
  end)

  for _, name in ipairs {
    "default",
    "aes128",
    "aes192",
    "des3",
    "scrypt",
    "camellia",
    "pbe1",
    "older_aes128",
    "older_aes256",
    "older_des3",
  } do
    it("reads a key encrypted by openssl: " .. name, function()
      local world = emulated()
      local key = path(name .. ".pem")
      assert.is_truthy((provider { private_key = key, passphrase = passphrase }(world.ask)))
      for _, wrong in ipairs { "", "hush", passphrase .. "x" } do
        local token, message, details =
          provider({ private_key = key, passphrase = wrong })(world.ask)
        assert.is_nil(token)
        assert.is_truthy(message:find "passphrase")
        assert.is_false(details.is_transient)
        assert_safe(message)
      end
      assert.are.equal(1, #world.requests)
    end)
  end

  it("reads a key whose passphrase is in UTF-8, or no UTF-8 at all", function()
    local others = { "pässword", "€\240\159\148\145", "p\228ssword", ("x"):rep(200) }
    for number, other in ipairs(others) do
      local key = path(("other_%d.pem"):format(number))
      key_files.encrypt(folder, key, other)
      assert.is_truthy((provider { private_key = key, passphrase = other }(emulated().ask)))
      assert.is_nil((provider { private_key = key, passphrase = other .. "x" }(emulated().ask)))
    end
  end)

  it("asks a function for the passphrase when it is needed, once", function()
    local asked, world = 0, emulated()
    local function ask_for_it()
      asked = asked + 1
      return passphrase
    end
    local sign_in = provider { private_key = path "default.pem", passphrase = ask_for_it }
    assert.are.equal(0, asked)
    assert.is_truthy((sign_in(world.ask)))
    assert.is_truthy((sign_in(world.ask)))
    assert.are.equal(1, asked)
    assert.is_truthy(
      (provider { private_key = path "key.pem", passphrase = ask_for_it }(world.ask))
    )
    assert.are.equal(1, asked)
  end)

  it("lets that function yield", function()
    local world = emulated()
    local thread = coroutine.create(provider {
      private_key = path "default.pem",
      passphrase = function()
        return coroutine.yield "waiting"
      end,
    })
    assert.are.same({ true, "waiting" }, { coroutine.resume(thread, world.ask) })
    local _, token = coroutine.resume(thread, passphrase)
    assert.are.equal("string", type(token))
  end)

  it("asks again after a wrong passphrase", function()
    local given, world = { "wrong", passphrase }, emulated()
    local sign_in = provider {
      private_key = path "default.pem",
      passphrase = function()
        return table.remove(given, 1)
      end,
    }
    assert.is_nil((sign_in(world.ask)))
    assert.is_truthy((sign_in(world.ask)))
  end)

  it("says that a passphrase is missing, whatever its function does", function()
    local world = emulated()
    local token, message = provider({ private_key = path "default.pem" })(world.ask)
    assert.is_nil(token)
    assert.is_truthy(message:find "set the option passphrase")
    for _, callable in ipairs {
      function() end,
      function()
        return 5
      end,
      function()
        error("hush")
      end,
    } do
      token, message =
        provider({ private_key = path "default.pem", passphrase = callable })(world.ask)
      assert.is_nil(token)
      assert.are.equal("the function passphrase gave no passphrase", message)
    end
  end)

  it("says what is wrong with key and certificate", function()
    local key = key_files.read(folder, "key.pem")
    local damaged = key:sub(1, 200) .. "AAAA" .. key:sub(205)
    local open = path "open.pem"
    os.execute(("cp '%s' '%s' && chmod 644 '%s'"):format(path "key.pem", open, open))
    for complaint, cases in pairs {
      ["there is no private key in PEM"] = {
        {},
        { private_key = path "log" },
        { private_key = "-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----" },
      },
      ["there is no certificate in PEM"] = {
        { certificate = path "key.pem" },
        {
          certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
          private_key = key,
        },
      },
      ["not that of the certificate"] = { { private_key = path "odd.pem" } },
      ["must be an RSA key"] = { { private_key = path "ec.pem" } },
      ["encrypted in a way that is not known"] = {
        { private_key = path "older_camellia128.pem", passphrase = passphrase },
      },
      ["cannot be read"] = { { private_key = damaged:gsub("MII", "MIA", 1) } },
      ["can be read by every user"] = { { private_key = open }, { certificate = open } },
      ["nowhere"] = { { private_key = "/nowhere" }, { certificate = "/nowhere" } },
    } do
      for _, given in ipairs(cases) do
        local world = emulated()
        local token, message, details = provider(given)(world.ask)
        assert.is_nil(token)
        assert.is_truthy(message:find(complaint, 1, true), message)
        assert.is_false(details.is_transient)
        assert.are.equal(0, #world.requests)
        assert_safe(message)
      end
    end
    local allowed = provider { private_key = open, allow_world_readable = true }
    assert.is_truthy((allowed(emulated().ask)))
  end)

  it("survives encrypted keys that are cut or changed anywhere", function()
    local whole = key_files.read(folder, "aes128.pem")
    local der = base64url.decode((whole:gsub("%-%-%-%-%-[^-]*%-%-%-%-%-", ""):gsub("%s", "")))
    local frame = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n%s\n-----END ENCRYPTED PRIVATE KEY-----"
    local function try(bytes)
      local text = frame:format(base64url.encode(bytes))
      local world = emulated()
      local token, message = provider({ private_key = text, passphrase = passphrase })(world.ask)
      assert.is_truthy(token or message)
      assert_safe(message)
    end
    try(der)
    for position = 1, 110 do
      local changed = string.char((der:byte(position) + 1) % 256)
      try(der:sub(1, position - 1) .. changed .. der:sub(position + 1))
      try(der:sub(1, position))
    end
  end)

  it("needs no secrecy for a certificate that has no key beside it", function()
    local open = path "open_certificate.pem"
    os.execute(("cp '%s' '%s' && chmod 644 '%s'"):format(path "certificate.pem", open, open))
    local sign_in = provider { certificate = open, private_key = path "key.pem" }
    assert.is_truthy((sign_in(emulated().ask)))
  end)

  it("signs the same text in another way each time (PSS)", function()
    local text = key_files.read(folder, "together.pem")
    local pair = read_key_pair(text, text)
    local first, second = signer.PS256(pair, "text"), signer.PS256(pair, "text")
    assert.are_not.equal(first, second)
    for _, signature in ipairs { first, second } do
      assert.is_true(key_files.verify(folder, "public.pem", "PS256", "text", signature))
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

  it("tries again while the certificate is not known, with a new assertion each time", function()
    local unknown = token_world.refused(401, "invalid_client", 700027, "Not registered.")
    local world = token_world.scripted { unknown, token_world.granted() }
    assert.is_truthy((provider { private_key = path "key.pem" }(world.ask)))
    local first = token_world.form(world.requests[1].body).client_assertion
    assert.are_not.equal(first, assertion_of(world))
    assert.are.same({ 2 }, world.slept)
  end)

  it("says how to get luaossl where it is missing", function()
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

  it("gets its assertion into nothing that is said", function()
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
    local key = key_files.read(folder, "key.pem")
    for complaint, given in pairs {
      ["did you mean 'private_key'?"] = { client_id = "a", certificate = key, privat_key = key },
      ["option 'certificate' is required"] = { client_id = "a", private_key = key },
      ["option 'client_id' is required"] = { certificate = key },
      ["'algorithm' must be one of"] = { client_id = "a", certificate = key, algorithm = "none" },
      ["'passphrase' must be"] = { client_id = "a", certificate = key, passphrase = { "hush" } },
      ["'private_key' must be"] = { client_id = "a", certificate = key, private_key = "" },
    } do
      local message = mistakes.raised(function()
        local made = client_certificate(given)
        return made
      end)
      assert.is_truthy(message:find(complaint, 1, true), message)
      assert.is_truthy(message:find "^spec/token/client_certificate_spec.lua:%d+: ")
      assert_safe(message)
    end
  end)
end)
