--- One request to an endpoint that gives tokens, and the meaning of its answer (RFC 6749 section 5).
--
-- Both kinds of endpoints are asked here: Entra's token endpoint and the platforms' identity endpoints. They
-- write the same facts in several ways: an error is a text or an object, names are written with underscores
-- or in camel case. No redirect is followed, and no secret of a request is in a message. Which request to
-- send, and whether to repeat it, is left to the callers. These react to the OAuth error; Entra's AADSTS
-- numbers are for hints, except the one of a certificate that is not known yet.

local dates = require "autopilot.base.dates"
local json = require "autopilot.base.json"
local life = require "autopilot.token.life"
local merged = require "autopilot.base.merged"
local network_hint = require("autopilot.base.lazy") "autopilot.base.network_hint"
local protected_call = require "autopilot.base.protected_call"
local provider = require "autopilot.token.provider"
local url_parts = require "autopilot.base.url"

local endpoint = {}

---@class autopilot.token.HttpRequest
---@field url string
---@field headers table<string, string>
---@field query table<string, string>? is added to the URL
---@field form table<string, string>? is posted; default: the request is a GET
---@field timeout { connect: number, total: number }? seconds; default 10 and 30
---@field secrets string[]? must not come back in a message
---@field source string? begins each message about this request
---@field tls_hint string? where the connection cannot be made secure
---@field setting string? the option or variable that names the address; default that of the authority

---@class autopilot.token.HttpAnswer
---@field status integer
---@field headers table<string, string> names in lower case
---@field object table? the JSON object that the body holds

---@class autopilot.token.Details
---@field code string? the OAuth error: `invalid_client`, …
---@field reason string? the AADSTS number
---@field correlation_id string?
---@field trace_id string?
---@field hint string? one sentence for the administrator
---@field retry_after number? seconds before which asking again is pointless
---@field is_transient boolean whether another attempt later may succeed

-- Hints by AADSTS number (Microsoft Entra, "Authentication and authorization error codes").
local hints = {
  ["50020"] = "This user does not exist in the tenant and cannot sign in to it.",
  ["50034"] = "This user does not exist in the tenant.",
  ["50059"] = "No tenant was named: set the option tenant.",
  ["53000"] = "Conditional Access wants a device that complies with the tenant's policies.",
  ["53003"] = "Conditional Access blocked the sign-in: the sign-in logs name the policy.",
  ["65001"] = "An administrator has not consented: grant admin consent to the application.",
  ["65002"] = "The application is Microsoft's own, such as that of the Azure CLI, and cannot be "
    .. "granted this permission: sign in with an application of your own.",
  ["70021"] = "No federated credential of the application matches this token: compare issuer, "
    .. "subject and audience; a new one takes minutes to be known.",
  ["90002"] = "There is no such tenant: check its id or domain, and the cloud.",
  ["90072"] = "This user does not exist in the tenant and cannot sign in to it.",
  ["500011"] = "The tenant does not know this resource: check scope and cloud.",
  ["530003"] = "Conditional Access wants a device that is managed.",
  ["700016"] = "The tenant does not know this application: check client id and tenant, and that "
    .. "admin consent was given there.",
  ["700027"] = "The certificate is not known for this application: upload it to the app "
    .. "registration; a new one takes minutes to be known.",
  ["700211"] = "No federated credential of the application matches the token's issuer.",
  ["700212"] = "No federated credential of the application matches the token's audience, which "
    .. "is mostly api://AzureADTokenExchange: compare the two.",
  ["700213"] = "No federated credential of the application matches the token's subject.",
  ["700024"] = "The assertion is not within its time: check this machine's clock.",
  ["900023"] = "The tenant must be an id, or a domain such as contoso.onmicrosoft.com.",
  ["7000112"] = "The application is disabled in this tenant.",
  ["7000215"] = "The client secret is wrong: give the secret's value, not its id.",
  ["7000218"] = "The application must prove who it is, or have 'Allow public client flows' set "
    .. "under Authentication in its app registration.",
  ["7000222"] = "The client secret has expired: make a new one in the app registration.",
}

hints["70002"] = hints["7000218"] -- what the device code endpoint answers

--- The AADSTS number of a certificate that was uploaded lately: not every server knows it yet.
endpoint.not_yet_known = "700027"

-- The options that name the address, if a request does not say.
local authority_setting = "authority or AZURE_AUTHORITY_HOST"

-- Bytes. Answers have a few thousand; a longer one is not read.
local longest_answer = 256 * 1024

-- Seconds to wait after a refusal that names no time, and the longest wait (MSAL's numbers).
local default_wait, longest_wait = 5, 3600

local busy = { temporarily_unavailable = true, server_error = true }

local guid = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

--- The text with all but the unreserved characters of RFC 3986 percent-encoded.
local function percent_encoded(text)
  return (
    text:gsub("[^A-Za-z0-9_.~-]", function(character)
      return ("%%%02X"):format(character:byte())
    end)
  )
end

--- A form as it is sent, in the order of the names.
function endpoint.encode_form(form)
  local fields = {}
  for name, value in pairs(form) do
    fields[#fields + 1] = percent_encoded(name) .. "=" .. percent_encoded(value)
  end
  table.sort(fields)
  return table.concat(fields, "&")
end

--- Whether a host is an IPv4 link-local address, 169.254.0.0/16, and not a name.
local function is_link_local(host)
  local third, fourth = host:match "^169%.254%.(%d%d?%d?)%.(%d%d?%d?)$"
  return third ~= nil and math.max(tonumber(third), tonumber(fourth)) <= 255
end

--- The URL of an endpoint that an environment variable names. Plain http goes to this machine, and to link-local
-- addresses where that is allowed. A wrong address is not quoted: it may hide a password.
function endpoint.url(variable, text, allows_link_local)
  local origin, rest = text:match "^(%a+://[^/?#]*)(.*)$"
  local scheme, host, port = url_parts.split(origin or "")
  if (scheme ~= "https" and scheme ~= "http") or rest:find "[^\33-\126]" or rest:find "[#\\]" then
    local must = "%s must be an https or http URL without credentials, blanks or fragment"
    provider.fail(must:format(variable))
  elseif scheme == "http" and not url_parts.is_loopback(host) then
    local must = "%s must be https: http is for loopback%s addresses only"
    local more = allows_link_local and " and link-local" or ""
    local is_safe = allows_link_local and is_link_local(host)
    provider.need(is_safe, must:format(variable, more))
  end
  return ("%s://%s%s%s"):format(scheme, host, port, rest)
end

--- The secret in an environment variable, which becomes the value of a header.
function endpoint.secret(variable, text)
  provider.need(not text:find "[^\32-\126]", variable .. " must be one line of ASCII text")
  return text
end

--- A short text of the answer that has this pattern, or nil.
local function fact(value, pattern, clean)
  local text = type(value) == "string" and #value <= 100 and clean(value)
  return text and text:match(pattern) or nil
end

--- The description of an error without the ids and the date that Entra adds to it, or nil.
local function sentence_of(description, clean)
  local line = clean(description)
  local ids = line and line:find(" Trace ID:", 1, true)
  line = line and line:sub(1, ids and ids - 1)
  return line ~= "" and line or nil
end

--- Seconds in which the endpoint should not be asked again; nil when the status does not say so.
local function wait_of(answer, now)
  if answer.status == 429 or (answer.status >= 500 and answer.status <= 599) then
    local told = answer.headers["retry-after"]
    local seconds = told and dates.read_retry_after(tostring(told), now) or default_wait
    return math.min(seconds, longest_wait)
  end
end

--- Message and hint for a status without a readable error.
local function sentence_of_status(answer)
  local status, encoding = answer.status, answer.headers["content-encoding"]
  if type(encoding) == "string" and encoding:find "^[%w-]+$" and encoding:lower() ~= "identity" then
    local message = "the token endpoint's answer is encoded as %s, which was not asked for"
    return message:format(encoding),
      "Check proxies: something between here and Entra has changed the answer."
  elseif status >= 300 and status <= 399 then
    return "the token endpoint answered with a redirect, which is never followed",
      "Check authority and proxies: something between here and Entra answered."
  elseif status >= 200 and status <= 299 then
    return "the token endpoint's answer holds no token",
      "Check authority and proxies: the answer may be that of a captive portal."
  elseif status == 429 then
    return "the token endpoint is throttling this client"
  end
  return ("the token endpoint answered HTTP %d without an error that can be read"):format(status)
end

--- Message and details for an answer without a token.
---@param answer autopilot.token.HttpAnswer
---@param clean fun(text: any): string? makes one line without secrets
---@param now number Unix seconds
---@return string message, autopilot.token.Details details
function endpoint.refusal(answer, clean, now)
  local object = answer.object or {}
  local nested = type(object.error) == "table" and object.error or {}
  local description = object.error_description or nested.message or object.message or object.Message
  local ids = object.correlation_id or nested.correlationId or object.correlationId
  local code = fact(nested.code or object.error, "^[%w_.-]+$", clean)
  local message = sentence_of(description, clean)
  local reason = message and description:match "^%s*AADSTS(%d+)%f[%D]"
  reason = reason and #reason <= 9 and reason or nil
  local hint = hints[reason or ""]
  if not message then
    message, hint = sentence_of_status(answer)
    message = code and "the token endpoint refuses: " .. code or message
  end
  local retry_after = wait_of(answer, now)
  return message,
    {
      code = code,
      reason = reason,
      correlation_id = fact(ids, guid, clean),
      trace_id = fact(object.trace_id, guid, clean),
      hint = hint,
      retry_after = retry_after,
      is_transient = retry_after ~= nil
        or answer.status == 408
        or busy[code or ""] == true
        or reason == endpoint.not_yet_known,
    }
end

--- The answer of a token endpoint, from the values that a transport returned; nil if they are no response. The transport
-- may be the user's own function. A member of the JSON object that is null counts as absent.
local function read_response(response)
  if type(response) ~= "table" or type(response.status) ~= "number" then
    return nil
  end
  local body, headers = response.body, response.headers
  local object = type(body) == "string" and #body <= longest_answer and json.decode(body)
  for name, value in pairs(type(object) == "table" and object or {}) do
    if value == json.null then
      object[name] = nil
    end
  end
  return {
    status = response.status,
    headers = type(headers) == "table" and headers or {},
    object = type(object) == "table" and object or nil,
  }
end

--- Message and hint for a request without an answer.
local function lost(network, clean, request)
  network = type(network) == "table" and network or {}
  local message = clean(network.message)
  local facts = { stage = network.stage, name = network.name, message = message }
  local hint = network.stage == "tls" and request.tls_hint
    or network_hint(facts, "token endpoint", request.setting or authority_setting)
  return "the token endpoint could not be reached: " .. (message or "no answer"),
    hint or "Check network, DNS, proxies and certificates."
end

--- Sends a request once. Returns the JSON object of a 200 that reports no error; or nil, a message and
-- details, and the answer when one came, or a part of it.
---@param ask autopilot.TokenAsk
---@param request autopilot.token.HttpRequest
---@return table? object, string? message one line, without a secret
---@return autopilot.token.Details? details, autopilot.token.HttpAnswer? answer
function endpoint.request(ask, request)
  local clean = provider.cleaner(request.secrets)
  local source = request.source and request.source .. ": " or ""
  local url, query, form = request.url, request.query, request.form
  if query then
    url = url .. (url:find("?", 1, true) and "&" or "?") .. endpoint.encode_form(query)
  end
  local content_type = form and { ["Content-Type"] = "application/x-www-form-urlencoded" }
  local ok, response, network = protected_call(ask.transport, {
    method = form and "POST" or "GET",
    url = url,
    headers = merged(content_type, request.headers),
    body = form and endpoint.encode_form(form),
    timeout = request.timeout or { connect = 10, total = 30 },
  })
  if not ok then
    provider.fail(source .. "the transport failed: " .. (clean(response) or "no message"))
  end
  local answer = read_response(response)
  local object = answer and answer.object
  if object and answer.status == 200 and object.error == nil then
    return object
  elseif not answer or (network and not object) then -- or the connection broke after the status
    local message, hint = lost(network, clean, request)
    local retry_after = answer and wait_of(answer, ask.now())
    local details = { is_transient = true, hint = hint, retry_after = retry_after }
    return nil, source .. message, details, answer
  end
  local message, details = endpoint.refusal(answer, clean, ask.now())
  return nil, source .. message, details, answer
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
---@param now number Unix seconds
---@param whose string? what holds the object, for the message
---@return string token, number? expires_in seconds, when told
---@return table extra `refresh_in` (seconds), `refresh_token`, each when told
function endpoint.read_token(object, now, whose)
  local token, kind, refresh_token = object.access_token, object.token_type, object.refresh_token
  local is_bearer = kind == nil or (type(kind) == "string" and kind:lower() == "bearer")
  local is_right = type(token) == "string" and token:find "^[\33-\126]+$" and is_bearer
  whose = whose or "the token endpoint's answer"
  provider.need(is_right, whose .. " holds no token that can be used")
  local is_text = type(refresh_token) == "string" and refresh_token ~= ""
  return token,
    life_of(object, now),
    {
      refresh_in = life.positive(object.refresh_in),
      refresh_token = is_text and refresh_token or nil,
    }
end

return endpoint
