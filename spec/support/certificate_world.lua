--- An application that signs in with a certificate, for specs: its files, its provider, and the service.

local base64url = require "autopilot.base.base64url"
local cjson = require "cjson.safe"
local client_certificate = require("autopilot.token.application").client_certificate
local key_files = require "support.key_files"
local overlay = require "support.overlay"
local token_world = require "support.token_world"

local certificate_world = {}

local folder

--- Makes the files of `support.key_files`: to be called before the specs of a file.
function certificate_world.make()
  folder = key_files.make()
end

--- As `make`, with the rarer forms.
function certificate_world.make_all()
  folder = key_files.make(true)
end

function certificate_world.remove()
  key_files.remove(folder)
end

--- The path of one of the files.
function certificate_world.path(name)
  return folder .. "/" .. name
end

--- The text of one of the files.
function certificate_world.text(name)
  return key_files.read(folder, name)
end

--- Writes the key to a file, encrypted with another passphrase.
function certificate_world.encrypt(path, passphrase)
  key_files.encrypt(folder, path, passphrase)
end

--- Whether the openssl command finds a signature right by one of the public keys.
function certificate_world.verify(public, text, signature)
  return key_files.verify(folder, public, text, signature)
end

--- Header, claims, signed text and signature of an assertion.
function certificate_world.parts_of(assertion)
  local header, claims, signature = assertion:match "^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$"
  return cjson.decode(base64url.decode(header)),
    cjson.decode(base64url.decode(claims)),
    header .. "." .. claims,
    base64url.decode(signature)
end

--- An emulated service whose application has the certificate: the openssl command is its judge.
function certificate_world.emulated()
  local function verify(assertion)
    local header, _, text, signature = certificate_world.parts_of(assertion)
    return header.alg == "PS256" and certificate_world.verify("public.pem", text, signature)
  end
  return token_world.emulated { clients = { app = { verify = verify } } }
end

--- A provider with the certificate, without a key: `given` adds or replaces options.
function certificate_world.provider(given)
  local certificate = certificate_world.path "certificate.pem"
  local options = { client_id = "app", getenv = token_world.getenv {}, certificate = certificate }
  return client_certificate(overlay(options, given))
end

--- The assertion of the last request.
function certificate_world.assertion_of(world)
  return token_world.form(world.requests[#world.requests].body).client_assertion
end

--- Fails unless nothing of key or passphrase is to be found.
function certificate_world.assert_safe(value)
  for _, needle in ipairs { "hush", "PRIVATE", certificate_world.text("key.pem"):sub(60, 90) } do
    token_world.assert_nowhere(needle, value)
  end
end

return certificate_world
