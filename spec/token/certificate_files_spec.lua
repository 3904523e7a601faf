-- Certificates and keys in other forms than PEM: the message names the form, and how to convert it.

local certificate_world = require "support.certificate_world"
local key_files = require "support.key_files"
local token_world = require "support.token_world"

local path, provider = certificate_world.path, certificate_world.provider

setup(certificate_world.make_all)
teardown(certificate_world.remove)

describe("a file given as certificate or key", function()
  it("is named if it is not PEM, with the command that converts it", function()
    for name, said in pairs {
      ["certificate.cer"] = "a certificate in DER, and must be PEM: convert it with: openssl "
        .. "x509 -inform DER",
      ["key.der"] = "a private key in DER, and must be PEM: convert it with: openssl pkey "
        .. "-inform DER",
      ["traditional.der"] = "a private key in DER",
      ["encrypted.der"] = "a private key in DER",
      ["legacy.pfx"] = "a PFX file (PKCS #12), and must be PEM: convert it with: openssl "
        .. "pkcs12 -in",
      ["certificate.spc"] = "an SPC or P7B file (PKCS #7), and must be PEM: convert it with: "
        .. "openssl pkcs7",
      ["certificate.p7b"] = "a PKCS #7 file",
      ["utf16.pem"] = "text in UTF-16, and must be PEM: convert it with: iconv -f UTF-16 -t UTF-8",
      ["utf16le.pem"] = "text in UTF-16",
      ["utf16be.pem"] = "text in UTF-16",
    } do
      for option, given in pairs {
        certificate = { certificate = path(name) },
        key = { certificate = path "certificate.pem", private_key = path(name) },
      } do
        given.passphrase = key_files.passphrase
        local token, message, details = provider(given)(token_world.scripted({}).ask)
        assert.is_nil(token)
        assert.is_truthy(message:find("it is " .. said, 1, true), option .. ": " .. message)
        assert.is_truthy(message:find(" '" .. path(name) .. "'", 1, true), message)
        assert.is_false(details.is_transient)
        assert.is_nil(message:find(key_files.passphrase, 1, true))
      end
    end
  end)

  it("may be a PFX file, with other certificates or without a passphrase", function()
    for _, given in ipairs {
      { certificate = path "application.pfx", passphrase = key_files.passphrase },
      { certificate = path "with_chain.pfx", passphrase = key_files.passphrase },
      { certificate = path "without_passphrase.pfx" },
      { private_key = path "application.pfx", passphrase = key_files.passphrase },
    } do
      assert.is_truthy(provider(given)(certificate_world.emulated().ask))
    end
  end)

  it("may be a PFX file, after any earlier OpenSSL error", function()
    local context = { mode = "client", protocol = "any", cafile = "/no/such/file" }
    assert.is_nil((require("ssl").newcontext(context)))
    local given = { certificate = path "application.pfx", passphrase = key_files.passphrase }
    assert.is_truthy(provider(given)(certificate_world.emulated().ask))
  end)

  it("reports a missing or wrong passphrase of a PFX file", function()
    local pfx = path "application.pfx"
    for said, passphrase in pairs {
      ["set the option passphrase"] = false,
      ["the passphrase is not that of the PFX file"] = "wrong",
    } do
      local given = { certificate = pfx, passphrase = passphrase or nil }
      local token, message, details = provider(given)(token_world.scripted({}).ask)
      assert.is_nil(token)
      assert.is_truthy(message:find(said, 1, true), message)
      assert.is_false(details.is_transient)
    end
  end)

  it("needs no passphrase for a PFX file without one", function()
    for name, said in pairs {
      ["without_key.pfx"] = "the PFX file must hold a private key and its certificate",
      ["open_legacy.pfx"] = "it is a PFX file (PKCS #12), and must be PEM",
    } do
      local _, message = provider { certificate = path(name) }(token_world.scripted({}).ask)
      assert.is_truthy(message:find(said, 1, true), message)
    end
  end)

  it("is converted to PEM by the command in the message", function()
    local _, message =
      provider { certificate = path "certificate.cer" }(token_world.scripted({}).ask)
    local command = message:match "convert it with: (.*)$"
    assert(os.execute(("cd '%s' && %s"):format(path "", command)))
    local file = assert(io.open(path "certificate.pem"))
    assert.is_truthy(file:read("*a"):find("BEGIN CERTIFICATE", 1, true))
    file:close()
  end)
end)
