--- The message, facts and hint for an answer that has no token (RFC 6749 section 5.2).
--
-- Entra and the platforms' identity endpoints write the same facts in several ways: an error is a text or
-- an object, names are written with underscores or in camel case. Reactions go by the OAuth error; Entra's
-- AADSTS numbers are for hints, except the one of a certificate that is not known yet.

local dates = require "autopilot.base.dates"

local oauth_error = {}

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
  ["7000112"] = "The application is disabled in this tenant.",
  ["7000215"] = "The client secret is wrong: give the secret's value, not its id.",
  ["7000218"] = "The application must prove who it is, or public clients must be allowed for it.",
  ["7000222"] = "The client secret has expired: make a new one in the app registration.",
}

--- The AADSTS number of a certificate that was uploaded lately: not every server knows it yet.
oauth_error.not_yet_known = "700027"

-- Seconds to wait after a refusal that names no time, and the longest wait (MSAL's numbers).
local default_wait, longest_wait = 5, 3600

local busy = { temporarily_unavailable = true, server_error = true }

local guid = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

--- A short text of the answer that has this pattern, or nil.
local function fact(value, pattern, clean)
  local text = type(value) == "string" and #value <= 100 and clean(value)
  return text and text:match(pattern) or nil
end

--- The error of an answer with the names that Entra gives its fields.
local function fields_of(object)
  local nested = type(object.error) == "table" and object.error or {}
  return {
    code = nested.code or object.error,
    description = object.error_description or nested.message or object.message or object.Message,
    numbers = object.error_codes,
    correlation_id = object.correlation_id or nested.correlationId or object.correlationId,
    trace_id = object.trace_id,
  }
end

--- The description without the ids and the date that Entra adds to it.
local function sentence_of(description, clean)
  local line = clean(description)
  local ids = line and line:find(" Trace ID:", 1, true)
  line = line and line:sub(1, ids and ids - 1)
  return line ~= "" and line or nil
end

--- The AADSTS number, from the list of numbers or from the description.
local function reason_of(fields)
  local first = type(fields.numbers) == "table" and fields.numbers[1]
  if type(first) == "number" and first >= 1 and first < 1e9 and first % 1 == 0 then
    return ("%d"):format(first)
  end
  local description = fields.description
  local number = type(description) == "string" and description:match "^%s*AADSTS(%d+)%f[%D]"
  return number and #number <= 9 and number or nil
end

--- Seconds in which the endpoint should not be asked again; nil when the status does not say so.
local function wait_of(answer, now)
  if answer.status ~= 429 and (answer.status < 500 or answer.status > 599) then
    return nil
  end
  local told = answer.headers["retry-after"]
  local seconds = told and dates.read_retry_after(tostring(told), now) or default_wait
  return math.min(seconds, longest_wait)
end

--- Message and hint for a status that came without a readable error.
local function sentence_of_status(answer)
  local status, encoding = answer.status, answer.headers["content-encoding"]
  if type(encoding) == "string" and encoding:find "^[%w-]+$" and encoding:lower() ~= "identity" then
    return ("the token endpoint's answer is encoded as %s, which was not asked for"):format(
      encoding
    ),
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

--- Message and details for an answer that has no token.
---@param answer autopilot.token.HttpAnswer
---@param clean fun(text: any): string? makes one line without secrets
---@param now number Unix seconds
---@return string message, autopilot.token.Details details
function oauth_error.read(answer, clean, now)
  local fields = fields_of(answer.object or {})
  local code, reason = fact(fields.code, "^[%w_.-]+$", clean), reason_of(fields)
  local message, hint = sentence_of(fields.description, clean), reason and hints[reason]
  if not message then
    message, hint = sentence_of_status(answer)
    message = code and "the token endpoint refuses: " .. code or message
  end
  local retry_after = wait_of(answer, now)
  return message,
    {
      code = code,
      reason = reason,
      correlation_id = fact(fields.correlation_id, guid, clean),
      trace_id = fact(fields.trace_id, guid, clean),
      hint = hint,
      retry_after = retry_after,
      is_transient = retry_after ~= nil
        or answer.status == 408
        or busy[code or ""] == true
        or reason == oauth_error.not_yet_known,
    }
end

return oauth_error
