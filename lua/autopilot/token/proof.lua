--- How an application proves to Entra who it is: with its secret, or with an assertion (RFC 7523 section 2.2),
-- which it signs with the key of its certificate or gets from its platform.

local authority = require "autopilot.token.authority"
local base64url = require "autopilot.base.base64url"
local core = require "autopilot.core"
local json = require "autopilot.base.json"
local lazy = require "autopilot.base.lazy"
local provider = require "autopilot.token.provider"
local secret_file = require "autopilot.token.secret_file"

local key_pair = lazy "autopilot.token.key_pair"

local need = provider.need

--- One way to prove the application's identity.
---@class autopilot.token.Proof
---@field rules table<string, autopilot.OptionRule>
---@field prepare fun(checked: table): autopilot.token.Prove?, string? nil and a sentence for a mistake in the options

--- Returns the fields of a token request's form that prove the identity; called for each request.
---@alias autopilot.token.Prove fun(ask: autopilot.TokenAsk, place: autopilot.token.Place): table<string, string>

local proof = {}

-- ---- By secret ---------------------------------------------------------------------------------------

local function check_secret(value)
  if value == "" then
    return "must not be empty"
  elseif type(value) == "string" and value:find "%c" then
    return "must not contain control characters"
  end
end

local function is_secret(text)
  return not check_secret(text)
end

local allow_world_readable = { type = "boolean", default = false }

---@type autopilot.token.Proof
proof.secret = {
  rules = {
    client_secret = { type = { "string", "function" }, secret = true, check = check_secret },
    client_secret_file = { type = "string" },
    allow_world_readable = allow_world_readable,
  },
  prepare = function(checked)
    local secret, path = checked.client_secret, checked.client_secret_file
    if (secret == nil) == (path == nil) then
      return nil, "needs one of the options 'client_secret' and 'client_secret_file'"
    end
    return function(ask)
      secret = secret or need(secret_file.read_line(path, checked.allow_world_readable))
      local is_text = type(secret) == "string"
      return {
        client_secret = is_text and secret
          or provider.ask_user("client_secret", "secret", secret, ask, is_secret),
      }
    end
  end,
}

-- ---- By assertion ------------------------------------------------------------------------------------

--- Returns the form fields that contain an assertion.
function proof.by_assertion(assertion)
  return {
    client_assertion = assertion,
    client_assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
  }
end

-- Seconds for which an assertion is valid: it is made for one request.
local lifetime = 600

--- Makes and signs an assertion for one request (RFC 7519; Microsoft identity platform, "Certificate credentials").
local function sign_assertion(pair, checked, place, now)
  local _, expires = pair.certificate:getLifetime()
  need(now < expires, "the certificate has expired: upload a new one to the app registration")
  local begins = math.floor(now)
  local header = json.encode {
    alg = checked.algorithm,
    typ = "JWT",
    ["x5t#S256"] = base64url.encode(pair.certificate:digest("sha256", "s")),
  }
  local claims = json.encode {
    aud = authority.url(place),
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

-- Error messages never quote the value, because PEM text may be a private key.
local function check_place(value)
  return value == "" and "must be PEM text or a file name" or nil
end

---@type autopilot.token.Proof
proof.certificate = {
  rules = {
    certificate = { type = "string", required = true, secret = true, check = check_place },
    private_key = { type = "string", secret = true, check = check_place },
    passphrase = { type = { "string", "function" }, secret = true },
    algorithm = { type = "string", default = "PS256", one_of = { "PS256", "RS256" } },
    allow_world_readable = allow_world_readable,
  },
  prepare = function(checked)
    local pair
    return function(ask, place)
      pair = pair or key_pair(checked)
      return proof.by_assertion(sign_assertion(pair, checked, place, ask.now()))
    end
  end,
}

return proof
