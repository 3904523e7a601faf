--- Signs an application in with a certificate: a JSON Web Token, signed for one request, proves that it
-- has the key (RFC 7523 section 2.2; Microsoft identity platform, "Certificate credentials").

local authority = require "autopilot.token.authority"
local base64url = require "autopilot.base.base64url"
local core = require "autopilot.core"
local json = require "autopilot.base.json"
local read_key_pair = require "autopilot.token.key_pair"
local oauth = require "autopilot.token.oauth"
local pem = require "autopilot.token.pem"
local protected_call = require "autopilot.base.protected_call"
local provider = require "autopilot.token.provider"
local secret_file = require "autopilot.token.secret_file"

local need = provider.need

---@class autopilot.token.ClientCertificateOptions: autopilot.token.CommonOptions
---@field client_id string
---@field certificate string PEM text, or the name of a file that holds it; read once
---@field private_key string? PEM text or file name; default: it is in the text of the certificate
---@field passphrase (string|fun(): string?, string?)? of an encrypted key; a function is called when the key is read
---@field algorithm ("PS256"|"RS256")? default `PS256`
---@field allow_world_readable boolean? take a key file that every user can read; default false

-- Seconds for which an assertion is valid: it is made for one request.
local lifetime = 600

-- PEM text may be a key, so what was given is never quoted.
local function check_place(value)
  return value == "" and "must be PEM text or a file name" or nil
end

local rules = authority.rules {
  certificate = { type = "string", required = true, secret = true, check = check_place },
  private_key = { type = "string", secret = true, check = check_place },
  passphrase = { type = { "string", "function" }, secret = true },
  algorithm = { type = "string", default = "PS256", one_of = { "PS256", "RS256" } },
  allow_world_readable = { type = "boolean", default = false },
}
rules.client_id.required = true

--- PEM text as given, or the text of the file with this name.
local function read(given, allow_world_readable)
  if given:find("-----BEGIN", 1, true) then
    return given
  end
  local text = need(secret_file.read(given, allow_world_readable))
  local conversion = pem.conversion(text, secret_file.printable(given))
  return conversion and provider.fail(conversion) or text
end

--- The passphrase of the key. It is asked for only where the key is encrypted.
local function find_passphrase(passphrase)
  need(passphrase, "the private key is encrypted: set the option passphrase")
  if type(passphrase) == "string" then
    return passphrase
  end
  local ok, given = protected_call(passphrase)
  local is_given = ok and type(given) == "string"
  return need(is_given and given, "the function passphrase gave no passphrase")
end

--- Reads certificate and key.
local function load(checked)
  local key_place, allow = checked.private_key, checked.allow_world_readable
  local certificate = read(checked.certificate, key_place ~= nil or allow)
  local key = key_place and read(key_place, allow) or certificate
  return read_key_pair(certificate, key, function()
    return find_passphrase(checked.passphrase)
  end)
end

--- An assertion for one request (RFC 7519).
local function assertion_of(pair, checked, audience, now)
  local _, expires = pair.certificate:getLifetime()
  need(now < expires, "the certificate has expired: upload a new one to the app registration")
  local begins = math.floor(now)
  local header = json.encode {
    alg = checked.algorithm,
    typ = "JWT",
    ["x5t#S256"] = base64url.encode(pair.certificate:digest("sha256", "s")),
  }
  local claims = json.encode {
    aud = audience,
    iss = checked.client_id,
    sub = checked.client_id,
    jti = core.uuid(),
    nbf = begins,
    exp = begins + lifetime,
  }
  local text = base64url.encode(header) .. "." .. base64url.encode(claims)
  local message = "OpenSSL cannot sign with this key (%s)"
  local signature = need(pair.sign(checked.algorithm, text), message:format(checked.algorithm))
  return text .. "." .. base64url.encode(signature)
end

return provider.kind("client_certificate", rules, function(checked)
  local pair
  return function(ask)
    return oauth.sign_in(ask, checked, function(place)
      pair = pair or load(checked)
      return oauth.proof(assertion_of(pair, checked, oauth.url(place), ask.now()))
    end)
  end
end)
