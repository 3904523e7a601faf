--- One request to an identity endpoint, and what its answer says.
--
-- Endpoints write the same things in several ways: errors flat or nested, expiry as seconds or as a
-- moment, numbers as strings. What is asked, and where, is left to the sources.

local core = require "autopilot.core"
local json = require "autopilot.base.json"
local life = require "autopilot.token.life"
local oauth = require "autopilot.token.oauth"
local oauth_error = require "autopilot.token.oauth_error"
local protected_call = require "autopilot.base.protected_call"
local redact = require "autopilot.base.redact"

local exchange = {}

---@class autopilot.token.IdentityRequest
---@field source string for messages
---@field method string? default `GET`
---@field url string
---@field headers table<string, string>
---@field body string?
---@field timeout { connect: number, total: number }?
---@field secrets string[]? what must not come back in a message

---@class autopilot.token.IdentityAnswer
---@field status integer
---@field headers table<string, string> names in lower case
---@field body string
---@field decoded table? the object that the body holds

-- Answers have some kilobytes: what is larger is none, and not worth reading.
local longest_answer = 256 * 1024

-- The endpoint is on this machine or beside it: if it is there at all, it takes a connection at once.
local timeout = { connect = 5, total = 30 }

-- From this life on a token is renewed at half of it (MSAL's rule for managed identities).
local long_life = 7200

local function one_line(text)
  return (text:gsub("%c", " "):sub(1, 300))
end

--- Sends a request once.
---@param ask autopilot.TokenAsk
---@param request autopilot.token.IdentityRequest
---@return autopilot.token.IdentityAnswer? answer
---@return string? message one line, without a secret
---@return autopilot.token.Details? details
function exchange.send(ask, request)
  local limits = request.timeout or timeout
  local ok, response, network = protected_call(ask.transport, {
    method = request.method or "GET",
    url = request.url,
    headers = request.headers,
    body = request.body,
    timeout = { connect = limits.connect, total = limits.total },
  })
  if not ok then
    return nil, request.source .. ": the transport failed", { is_transient = false }
  elseif type(response) ~= "table" or type(response.status) ~= "number" then
    local said = type(network) == "table" and type(network.message) == "string"
    said = said and redact.text(network.message, request.secrets) or "no answer"
    local message = ("%s: the identity endpoint could not be reached: %s"):format(
      request.source,
      said
    )
    return nil, one_line(message), { is_transient = true }
  end
  local body, headers = response.body, response.headers
  body = type(body) == "string" and #body <= longest_answer and body or ""
  local decodes, decoded = pcall(json.decode, body)
  return {
    status = response.status,
    headers = type(headers) == "table" and headers or {},
    body = body,
    decoded = decodes and type(decoded) == "table" and decoded or nil,
  }
end

--- What a platform that can drop a refused token from its cache is told after a claims challenge, as by
-- MSAL: the hash of that token, and that claims challenges are understood. Without luaossl there is no hash.
---@param ask autopilot.TokenAsk
---@param parameters table<string, string> of the query; gets what is to be added
function exchange.add_revocation(ask, parameters)
  if not ask.claims or not ask.refused then
    return
  end
  parameters.xms_cc = "cp1"
  local has_digest, digest = pcall(require, "openssl.digest")
  if has_digest then
    parameters.token_sha256_to_refresh = digest
      .new("sha256")
      :final(ask.refused)
      :gsub(".", function(byte)
        return ("%02x"):format(byte:byte())
      end)
  end
end

--- A number, however it is written; nil when it is none.
local function number_of(value)
  local is_zero = value == 0 or value == "0"
  local number = is_zero and 0 or life.positive(value)
  return number and number < 1e12 and number or nil
end

--- Seconds that a token has left; nil when that is not told. Where both are told it is the smaller:
-- endpoints keep tokens, and may count from when one was issued.
local function life_of(decoded, now)
  local left, at = number_of(decoded.expires_in), number_of(decoded.expires_on)
  local until_then = at and math.max(at - now, 0)
  return left and until_then and math.min(left, until_then) or left or until_then
end

--- The error in the one form that Entra's has.
local function error_of(decoded)
  local nested = type(decoded.error) == "table" and decoded.error or {}
  local code = nested.code or decoded.error
  return {
    error = type(code) == "string" and code or nil,
    error_description = decoded.error_description
      or nested.message
      or decoded.message
      or decoded.Message,
    correlation_id = decoded.correlation_id or nested.correlationId or decoded.correlationId,
  }
end

--- The token of an answer, or nil, a sentence and details.
---@param ask autopilot.TokenAsk
---@param request autopilot.token.IdentityRequest
---@param answer autopilot.token.IdentityAnswer
---@return string? token
---@return number|string|nil expires_in seconds, when told; without a token the message
---@return table extra `refresh_in`, when there is one; without a token the details
function exchange.read(ask, request, answer)
  local now = (ask.now or core.now)()
  local decoded = answer.decoded or {}
  if answer.status == 200 and decoded.access_token ~= nil then
    local token = oauth.read_token(decoded)
    if not token then
      local message = request.source .. ": the answer holds no token that can be used"
      return nil, message, { is_transient = false }
    end
    local left = life_of(decoded, now)
    local refresh_in = number_of(decoded.refresh_in)
    return token,
      left,
      { refresh_in = refresh_in or (left and left >= long_life and left / 2) or nil }
  end
  local clean = redact.prepare(request.secrets)
  local message, details =
    oauth_error.read(answer.status, answer.headers, error_of(decoded), clean, now)
  return nil, one_line(request.source .. ": " .. message), details
end

--- Sends a request once and reads the token of its answer.
---@return string? token
---@return number|string|nil expires_in
---@return table extra
function exchange.request(ask, request)
  local answer, message, details = exchange.send(ask, request)
  if not answer then
    return nil, message, details
  end
  return exchange.read(ask, request, answer)
end

return exchange
