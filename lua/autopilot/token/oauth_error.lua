--- What the token endpoint says of a failure, as a sentence, facts and a hint (RFC 6749 section 5.2).
--
-- Reactions go by the OAuth error; Entra's AADSTS numbers are for hints, but for the one that tells of a
-- certificate which is not known yet. Where the answer came from is left to `oauth`.

local dates = require "autopilot.base.dates"

local oauth_error = {}

---@class autopilot.token.Details
---@field code string? the OAuth error: `invalid_client`, …
---@field reason string? the AADSTS number
---@field correlation_id string?
---@field trace_id string?
---@field hint string? one sentence for the administrator
---@field retry_after number? seconds before which asking again is pointless
---@field is_transient boolean worth another attempt later

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

-- A certificate that was uploaded lately is not known by every server yet.
local not_yet_known = "700027"

local longest_message = 300

-- So long to wait after a refusal that names no time, and never longer than that (MSAL's numbers).
local default_wait, longest_wait = 5, 3600

local busy = { temporarily_unavailable = true, server_error = true }

--- A text of the answer that is short and of plain characters, or nil.
local function plain(value, pattern, clean)
  local text = type(value) == "string" and #value <= 100 and clean(value)
  return text and text:match(pattern) or nil
end

local hexadecimal = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

--- The part of a description that is for people, on one line.
local function sentence_of(description, clean)
  if type(description) ~= "string" then
    return nil
  end
  -- Cleaned before it is cut: a secret's first half would not be known as one.
  local text = clean(description:sub(1, 16 * 1024)):gsub("^%s+", "")
  local first_line = text:match "^[^\r\n]*"
  local clutter = first_line:find(" Trace ID:", 1, true)
  local sentence = first_line:sub(1, clutter and clutter - 1 or longest_message)
  sentence = sentence:sub(1, longest_message):gsub("%c", " ")
  return sentence ~= "" and sentence or nil
end

--- The AADSTS number, from the list of them or from the description.
local function reason_of(answer)
  local codes = answer.error_codes
  local first = type(codes) == "table" and codes[1]
  if type(first) == "number" and first >= 1 and first < 1e9 and first % 1 == 0 then
    return ("%d"):format(first)
  end
  local description = answer.error_description
  local number = type(description) == "string" and description:match "^%s*AADSTS(%d+)%f[%D]"
  return number and #number <= 9 and number or nil
end

--- Seconds that the endpoint wants to be left alone for; nil when the status does not say so.
local function wait_of(status, headers, now)
  if status ~= 429 and (status < 500 or status > 599) then
    return nil
  end
  local told = headers["retry-after"]
  local seconds = told and dates.read_retry_after(tostring(told), now) or default_wait
  return math.min(seconds, longest_wait)
end

--- What a status means that came without a readable error.
local function sentence_of_status(status, headers)
  local encoding = headers["content-encoding"]
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

--- Message and details of an answer that has no token.
---@param status integer
---@param headers table<string, string> names in lower case
---@param answer table? the decoded body
---@param clean fun(text: string): string takes the secrets out
---@param now number Unix seconds
---@return string message
---@return autopilot.token.Details details
function oauth_error.read(status, headers, answer, clean, now)
  answer = answer or {}
  local code = plain(answer.error, "^[%w_.-]+$", clean)
  local reason = reason_of(answer)
  local message, hint = sentence_of(answer.error_description, clean), reason and hints[reason]
  if not message then
    message, hint = sentence_of_status(status, headers)
    message = code and ("the token endpoint refuses: %s"):format(code) or message
  end
  local retry_after = wait_of(status, headers, now)
  return message,
    {
      code = code,
      reason = reason,
      correlation_id = plain(answer.correlation_id, hexadecimal, clean),
      trace_id = plain(answer.trace_id, hexadecimal, clean),
      hint = hint,
      retry_after = retry_after,
      is_transient = retry_after ~= nil
        or status == 408
        or busy[code or ""] == true
        or reason == not_yet_known,
    }
end

--- Whether the same request may succeed in a few seconds.
---@param details autopilot.token.Details
---@return boolean
function oauth_error.is_not_yet_known(details)
  return details.reason == not_yet_known
end

return oauth_error
