--- Entra's endpoints: one form sent, one answer read (RFC 6749, Microsoft identity platform v2.0).
--
-- Nothing is sent but over https, or http to this machine; no redirect is followed; no secret of the
-- form comes back in a message. Which form to send, and where, is left to the providers.

local authority = require "autopilot.token.authority"
local core = require "autopilot.core"
local json = require "autopilot.base.json"
local life = require "autopilot.token.life"
local oauth_error = require "autopilot.token.oauth_error"
local protected_call = require "autopilot.base.protected_call"
local redact = require "autopilot.base.redact"

local oauth = {}

---@class autopilot.token.Request
---@field authority string `https://host[:port]`
---@field tenant string
---@field endpoint string? `token` (default) or `devicecode`
---@field form table<string, string>|fun(): table<string, string>?, string? the fields, or what makes them anew for each attempt
---@field secrets string[]? what else must not come back in a message

local timeout = { connect = 10, total = 30 }

-- Answers have some kilobytes: what is larger is none, and not worth reading.
local longest_answer = 256 * 1024

-- Seconds before each further attempt with a certificate that is not known yet.
local waits_for_certificate = { 2, 4, 8 }

-- Fields that are as good as a key.
local secret_fields = {
  "client_secret",
  "client_assertion",
  "device_code",
  "refresh_token",
  "password",
}

local function percent_encoded(character)
  return ("%%%02X"):format(character:byte())
end

--- A form as it is sent: every name and value percent-encoded (RFC 3986 unreserved characters stay), in
-- the order of the names.
---@param form table<string, string>
---@return string
function oauth.encode_form(form)
  local fields = {}
  for name, value in pairs(form) do
    local field = name:gsub("[^A-Za-z0-9_.~-]", percent_encoded)
    fields[#fields + 1] = field .. "=" .. value:gsub("[^A-Za-z0-9_.~-]", percent_encoded)
  end
  table.sort(fields)
  return table.concat(fields, "&")
end

--- Takes the secrets of a form, and the further ones, out of a text.
local function cleaner(form, secrets)
  local all = {}
  for _, name in ipairs(secret_fields) do
    all[#all + 1] = form[name]
  end
  for _, secret in ipairs(secrets or {}) do
    all[#all + 1] = secret
  end
  return redact.prepare(all)
end

local function one_line(text)
  return (text:gsub("%c", " "):sub(1, 300))
end

--- Nothing was answered.
local function network_failure(network, clean)
  local message = type(network) == "table" and network.message
  message = type(message) == "string" and clean(message) or "no answer"
  return nil,
    one_line("the token endpoint could not be reached: " .. message),
    { is_transient = true, hint = "Check network, DNS, proxies and certificates." }
end

--- The status and body of what a transport returned; a body that is no text, or too long, is none.
local function read_response(response)
  local status = type(response) == "table" and response.status
  if type(status) ~= "number" then
    return nil
  end
  local body, headers = response.body, response.headers
  local is_readable = type(body) == "string" and #body <= longest_answer
  return status, is_readable and body or "", type(headers) == "table" and headers or {}
end

local function decoded(body)
  local ok, answer = pcall(json.decode, body)
  return ok and type(answer) == "table" and answer or nil
end

--- Unix seconds, of the world that asks.
local function now_of(ask)
  return (ask.now or core.now)()
end

--- Sends a form once.
---@param ask autopilot.TokenAsk
---@param url string
---@param form table<string, string>
---@param clean fun(text: string): string
---@return table? answer the decoded object of a 200
---@return string? message
---@return autopilot.token.Details? details
local function post(ask, url, form, clean)
  local ok, response, network = protected_call(ask.transport, {
    method = "POST",
    url = url,
    headers = {
      ["Accept"] = "application/json",
      ["Content-Type"] = "application/x-www-form-urlencoded",
      ["client-request-id"] = core.uuid(),
    },
    body = oauth.encode_form(form),
    timeout = { connect = timeout.connect, total = timeout.total },
  })
  if not ok then
    local said = type(response) == "string" and clean(response) or "no message"
    return nil, one_line("the transport failed: " .. said), { is_transient = false }
  elseif response == nil then
    return network_failure(network, clean)
  end
  local status, body, headers = read_response(response)
  if not status then
    return nil, "the transport returned no response", { is_transient = false }
  end
  local answer = decoded(body)
  if status == 200 and answer and answer.error == nil then
    return answer
  elseif not answer and network then
    return network_failure(network, clean) -- the status came, and then the connection broke
  end
  return nil, oauth_error.read(status, headers, answer, clean, now_of(ask))
end

--- The form of one attempt, or nil and why there is none.
local function make_form(ask, form)
  local message
  if type(form) == "function" then
    form, message = form()
    if not form then
      return nil, message
    end
  end
  local complete = {}
  for name, value in pairs(form) do
    complete[name] = value
  end
  if type(ask.claims) == "string" and ask.claims ~= "" then
    complete.claims = ask.claims
  end
  return complete
end

--- The URL of one of the tenant's endpoints; or nil and a sentence.
---@param base string authority
---@param tenant string
---@param endpoint string? `token` (default) or `devicecode`
---@return string? url
---@return string? message
function oauth.endpoint(base, tenant, endpoint)
  local url, complaint = authority.parse(base)
  complaint = complaint or authority.tenant_complaint(tenant, true)
  if complaint then
    return nil, "the authority or tenant " .. complaint
  end
  return ("%s/%s/oauth2/v2.0/%s"):format(url, tenant, endpoint or "token")
end

local function wait_before(ask, attempt, details)
  local seconds = oauth_error.is_not_yet_known(details) and waits_for_certificate[attempt]
  if not seconds or not ask.sleep then
    return false
  end
  ask.sleep(seconds)
  return true
end

--- Sends a form to an endpoint of the tenant and returns the object that a 200 holds. A certificate that
-- is not known yet is tried again, for 14 seconds in all.
---@param ask autopilot.TokenAsk
---@param request autopilot.token.Request
---@return table? answer
---@return string? message one line, without a secret
---@return autopilot.token.Details? details
function oauth.post(ask, request)
  local url, complaint = oauth.endpoint(request.authority, request.tenant, request.endpoint)
  if not url then
    return nil, complaint, { is_transient = false }
  end
  local attempt = 0
  while true do
    local form, reason = make_form(ask, request.form)
    if not form then
      return nil, reason, { is_transient = false }
    end
    local answer, message, details = post(ask, url, form, cleaner(form, request.secrets))
    attempt = attempt + 1
    if answer or not wait_before(ask, attempt, details) then
      return answer, message, details
    end
  end
end

--- Reads the token of an answer.
---@param answer table
---@return string? token
---@return number|string|nil expires_in seconds, when told; without a token the message
---@return table extra `refresh_in` (seconds), `refresh_token`, each when told; without a token the details
function oauth.read_token(answer)
  local token, token_type = answer.access_token, answer.token_type
  local is_bearer = token_type == nil
    or (type(token_type) == "string" and token_type:lower() == "bearer")
  if type(token) ~= "string" or not token:find "^[\33-\126]+$" or not is_bearer then
    local message = "the token endpoint's answer holds no token that can be used"
    return nil, message, { is_transient = false }
  end
  local refresh_token = answer.refresh_token
  local has_refresh_token = type(refresh_token) == "string" and refresh_token ~= ""
  return token,
    life.positive(answer.expires_in),
    {
      refresh_in = life.positive(answer.refresh_in),
      refresh_token = has_refresh_token and refresh_token or nil,
    }
end

--- Asks for a token.
---@param ask autopilot.TokenAsk its `claims` are sent as they are
---@param request autopilot.token.Request
---@return string? token
---@return number|string|nil expires_in seconds, when told; without a token the message: one line, without a secret
---@return table extra `refresh_in`, `refresh_token`; without a token `autopilot.token.Details`
function oauth.request(ask, request)
  local answer, message, details = oauth.post(ask, request)
  if not answer then
    return nil, message, details
  end
  return oauth.read_token(answer)
end

return oauth
