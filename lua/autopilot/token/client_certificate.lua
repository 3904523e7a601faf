--- Signs an application in with a certificate: what proves its key is a JSON Web Token, signed for this
-- one request (RFC 7523 section 2.2; Microsoft identity platform, "Certificate credentials").

local authority = require "autopilot.token.authority"
local base64url = require "autopilot.base.base64url"
local core = require "autopilot.core"
local json = require "autopilot.base.json"
local oauth = require "autopilot.token.oauth"
local options = require "autopilot.base.options"
local pem = require "autopilot.token.pem"
local protected_call = require "autopilot.base.protected_call"
local secret_file = require "autopilot.token.secret_file"
local signer = require "autopilot.token.signer"

---@class autopilot.token.ClientCertificateOptions
---@field client_id string
---@field certificate string PEM text, or the name of a file that holds it; read once
---@field private_key string? PEM text or file name; default: it stands beside the certificate
---@field passphrase (string|fun(): string?, string?)? of an encrypted key; a function is called when the key is read
---@field algorithm autopilot.token.Algorithm? default `PS256`
---@field allow_world_readable boolean? take a key file that every user can read; default false
---@field tenant string? default: that of the client
---@field authority string? default: AZURE_AUTHORITY_HOST, else that of the client's cloud
---@field scope string? default: that of the client
---@field getenv (fun(name: string): string?)? default `os.getenv`

local name = "autopilot.token.client_certificate"

-- Seconds that an assertion is good for: it is made for one request.
local lifetime = 600

-- PEM text may be a key, so that what was given is never quoted.
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
  local text, message = secret_file.read(given, allow_world_readable)
  local path = text and secret_file.printable(given)
  local conversion = text and pem.conversion(text, path)
  if conversion then
    return nil, ("%s: %s"):format(path, conversion)
  end
  return text, message
end

--- A function that gives the passphrase, or nil and a sentence.
local function passphrase_source(passphrase)
  if passphrase == nil then
    return function()
      return nil, "the private key is encrypted: set the option passphrase"
    end
  elseif type(passphrase) == "string" then
    return function()
      return passphrase
    end
  end
  return function()
    local ok, given = protected_call(passphrase)
    if ok and type(given) == "string" then
      return given
    end
    return nil, "the function passphrase gave no passphrase"
  end
end

--- Reads certificate and key, or returns nil and a sentence.
local function load(checked)
  local is_public = checked.private_key ~= nil
  local certificate, message = read(checked.certificate, is_public or checked.allow_world_readable)
  if not certificate then
    return nil, message
  end
  local key = certificate
  if checked.private_key then
    key, message = read(checked.private_key, checked.allow_world_readable)
    if not key then
      return nil, message
    end
  end
  local loaded
  loaded, message = signer.load(certificate, key, passphrase_source(checked.passphrase))
  return loaded, message
end

--- An assertion for one request (RFC 7519), or nil and a sentence.
local function assertion_of(loaded, checked, audience, now)
  local header = ('{"alg":"%s","typ":"JWT","x5t#S256":"%s"}'):format(
    checked.algorithm,
    base64url.encode(loaded.thumbprint)
  )
  local client_id = json.encode(checked.client_id)
  local begins = math.floor(now)
  local claims = ('{"aud":%s,"exp":%.0f,"iss":%s,"jti":"%s","nbf":%.0f,"sub":%s}'):format(
    json.encode(audience),
    begins + lifetime,
    client_id,
    core.uuid(),
    begins,
    client_id
  )
  local text = base64url.encode(header) .. "." .. base64url.encode(claims)
  local signature, message = loaded.sign(checked.algorithm, text)
  if not signature then
    return nil, message
  end
  return text .. "." .. base64url.encode(signature)
end

--- The form of one request, or nil and a sentence.
local function form_of(loaded, checked, place, ask)
  local audience = oauth.endpoint(place.authority, place.tenant)
  local now = (ask.now or core.now)()
  if now >= loaded.expires then
    return nil, "the certificate has expired: upload a new one to the app registration"
  end
  local assertion, message = assertion_of(loaded, checked, audience, now)
  if not assertion then
    return nil, message
  end
  return {
    grant_type = "client_credentials",
    client_id = checked.client_id,
    client_assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    client_assertion = assertion,
    scope = place.scope,
  }
end

--- Makes a provider. Nothing is read or sent yet.
---@param given autopilot.token.ClientCertificateOptions
---@param level integer? where a mistake raises, as for `error`; default 2, the caller
---@return autopilot.TokenProvider
local function new(given, level)
  level = level or 2
  local checked = options.check(name, rules, given, level)
  local loaded
  return function(ask)
    local place, message = authority.find(checked, ask)
    if not place then
      return nil, message, { is_transient = false }
    end
    if not loaded then
      loaded, message = load(checked)
      if not loaded then
        return nil, message, { is_transient = false }
      end
    end
    local token, expires_in, extra = oauth.request(ask, {
      authority = place.authority,
      tenant = place.tenant,
      form = function()
        return form_of(loaded, checked, place, ask)
      end,
    })
    return token, expires_in, extra
  end
end

return new
