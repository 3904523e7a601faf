--- One request to an endpoint that gives tokens, and what its answer holds.
--
-- Both kinds of endpoints are asked here: Entra's token endpoint and the platforms' identity endpoints. No
-- redirect is followed, and no secret of a request is in a message. Which request to send, and whether to
-- repeat it, is left to the callers.

local json = require "autopilot.base.json"
local life = require "autopilot.token.life"
local oauth_error = require "autopilot.token.oauth_error"
local protected_call = require "autopilot.base.protected_call"
local provider = require "autopilot.token.provider"

local http = {}

---@class autopilot.token.HttpRequest
---@field method string? default `GET`
---@field url string
---@field headers table<string, string>
---@field body string?
---@field timeout { connect: number, total: number } seconds
---@field secrets string[]? must not come back in a message
---@field source string? begins each message about this request

---@class autopilot.token.HttpAnswer
---@field status integer
---@field headers table<string, string> names in lower case
---@field body string empty when it was not text, or too long
---@field object table? the JSON object that the body holds

-- Bytes. Answers have a few thousand; a longer one is not read.
local longest_answer = 256 * 1024

local function percent_encoded(character)
  return ("%%%02X"):format(character:byte())
end

--- A form as it is sent: every name and value percent-encoded (RFC 3986 unreserved characters stay), in
-- the order of the names.
---@param form table<string, string>
---@return string
function http.encode_form(form)
  local fields = {}
  for name, value in pairs(form) do
    local field = name:gsub("[^A-Za-z0-9_.~-]", percent_encoded)
    fields[#fields + 1] = field .. "=" .. value:gsub("[^A-Za-z0-9_.~-]", percent_encoded)
  end
  table.sort(fields)
  return table.concat(fields, "&")
end

--- The answer in what a transport returned, or nil. A transport may be the user's own code.
local function read_response(response)
  local status = type(response) == "table" and response.status
  if type(status) ~= "number" then
    return nil
  end
  local body, headers = response.body, response.headers
  body = type(body) == "string" and #body <= longest_answer and body or ""
  local object = json.decode(body)
  return {
    status = status,
    headers = type(headers) == "table" and headers or {},
    body = body,
    object = type(object) == "table" and object or nil,
  }
end

--- Sends a request once, and returns what `http.request` does.
local function send(ask, request)
  local clean = provider.cleaner(request.secrets)
  local ok, response, network = protected_call(ask.transport, {
    method = request.method or "GET",
    url = request.url,
    headers = request.headers,
    body = request.body,
    timeout = { connect = request.timeout.connect, total = request.timeout.total },
  })
  if not ok then
    return provider.failure("the transport failed: " .. (clean(response) or "no message"))
  end
  local answer = read_response(response)
  if response ~= nil and not answer then
    return provider.failure "the transport returned no response"
  elseif answer and answer.status == 200 and answer.object and answer.object.error == nil then
    return answer.object
  elseif not answer or (network and not answer.object) then -- or the connection broke after the status
    local reason = type(network) == "table" and clean(network.message) or "no answer"
    return nil,
      "the token endpoint could not be reached: " .. reason,
      { is_transient = true, hint = "Check network, DNS, proxies and certificates." }
  end
  local message, details = oauth_error.read(answer, clean, ask.now())
  return nil, message, details, answer
end

--- Sends a request once. Returns the JSON object of a 200 that reports no error; or nil, a message and
-- details, and the answer when a whole one came.
---@param ask autopilot.TokenAsk
---@param request autopilot.token.HttpRequest
---@return table? object, string? message one line, without a secret
---@return autopilot.token.Details? details, autopilot.token.HttpAnswer? answer
function http.request(ask, request)
  local object, message, details, answer = send(ask, request)
  if message and request.source then
    message = request.source .. ": " .. message
  end
  return object, message, details, answer
end

--- Seconds that the token of an answer is still valid for; nil when the answer does not tell. Of
-- `expires_in` and `expires_on` the earlier counts: identity endpoints keep tokens, and may count
-- `expires_in` from when a token was issued.
local function life_of(object, now)
  local left, at = life.positive(object.expires_in), life.positive(object.expires_on)
  local until_then = at and at < 1e12 and math.max(at - now, 0) or nil
  return left and until_then and math.min(left, until_then) or left or until_then
end

--- Reads the token of an answer.
---@param object table
---@param now number Unix seconds
---@return string? token, number|string|nil expires_in seconds, when told; without a token the message
---@return table extra `refresh_in` (seconds), `refresh_token`, each when told; without a token the details
function http.read_token(object, now)
  local token, kind, refresh_token = object.access_token, object.token_type, object.refresh_token
  local is_bearer = kind == nil or (type(kind) == "string" and kind:lower() == "bearer")
  if type(token) ~= "string" or not token:find "^[\33-\126]+$" or not is_bearer then
    return provider.failure "the token endpoint's answer holds no token that can be used"
  end
  if type(refresh_token) ~= "string" or refresh_token == "" then
    refresh_token = nil
  end
  local refresh_in = life.positive(object.refresh_in)
  return token, life_of(object, now), { refresh_in = refresh_in, refresh_token = refresh_token }
end

return http
