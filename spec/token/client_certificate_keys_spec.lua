-- Keys and certificates in PEM, plain and encrypted: which are read, and the messages for the others.

local base64url = require "autopilot.base.base64url"
local certificate_world = require "support.certificate_world"
local key_files = require "support.key_files"

local assert_safe, emulated, passphrase =
  certificate_world.assert_safe, certificate_world.emulated, key_files.passphrase
local path, provider = certificate_world.path, certificate_world.provider

setup(certificate_world.make_all)
teardown(certificate_world.remove)

describe("autopilot.token.client_certificate: keys and certificates", function()
  it("reads keys and certificates as text, and out of one file with others", function()
    local together = certificate_world.text "together.pem"
    for _, given in ipairs {
      { certificate = path "together.pem" },
      { certificate = together },
      { certificate = together:gsub("\n", "\r\n") },
      { private_key = path "traditional.pem" },
      {
        certificate = certificate_world.text "certificate.pem",
        private_key = certificate_world.text "key.pem",
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

  it("reads a key with a passphrase in UTF-8 or another encoding", function()
    local others = { "pässword", "€\240\159\148\145", "p\228ssword", ("x"):rep(200) }
    for number, other in ipairs(others) do
      local key = path(("other_%d.pem"):format(number))
      certificate_world.encrypt(key, other)
      assert.is_truthy((provider { private_key = key, passphrase = other }(emulated().ask)))
      assert.is_nil((provider { private_key = key, passphrase = other .. "x" }(emulated().ask)))
    end
  end)

  it("calls a function for the passphrase when it is needed, once", function()
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

  it("calls it again after a wrong passphrase", function()
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

  it("reports a missing passphrase, for any result of its function", function()
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

  it("reports faults of key and certificate", function()
    local key = certificate_world.text "key.pem"
    local damaged = key:sub(1, 200) .. "AAAA" .. key:sub(205)
    local open = path "open.pem"
    os.execute(("cp '%s' '%s' && chmod 644 '%s'"):format(path "key.pem", open, open))
    for complaint, cases in pairs {
      [path "log" .. ": there is no private key in PEM"] = { { private_key = path "log" } },
      [path "key.pem" .. ": there is no certificate in PEM"] = {
        { certificate = path "key.pem" },
      },
      ["there is no private key in PEM"] = {
        {},
        { private_key = "-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----" },
      },
      ["there is no certificate in PEM"] = {
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

  it("survives encrypted keys that are cut or changed at any byte", function()
    local whole = certificate_world.text "aes128.pem"
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

  it("allows a public certificate file if the key is elsewhere", function()
    local open = path "open_certificate.pem"
    os.execute(("cp '%s' '%s' && chmod 644 '%s'"):format(path "certificate.pem", open, open))
    local sign_in = provider { certificate = open, private_key = path "key.pem" }
    assert.is_truthy((sign_in(emulated().ask)))
  end)
end)
