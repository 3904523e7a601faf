--- Reads the error in the body of a refused or failed request, however deeply it is wrapped.
--
-- Never raises: a service, a gateway or a captive portal may send any body. What an error means for the
-- caller is decided in `autopilot.graph.answer`.

local forms = require "autopilot.graph.error_forms"

local graph_error = {}

--- What a body says. Every text is one clean line of valid UTF-8, without control characters.
--
-- The reason is the first of these that the body has: the missing permissions ("A, B"), the number of
-- an Entra error ("AADSTS7000215"), the code of the inner error or of the first detail, a further
-- sentence.
---@class autopilot.GraphError
---@field code string? the innermost code that says something: `Forbidden`, not the `UnknownError` around it
---@field message string? the sentence, without the ids behind it; at most 1000 characters, an ellipsis where it is cut
---@field reason string? see above
---@field activity_id string? Intune's "Activity ID", else its "Operation ID" when that is not all zeros
---@field request_id string? Graph's `request-id`, or Entra's `trace_id`
---@field retry_after number? seconds that the body asks to wait, at least 0; the longest where several levels ask

-- Bytes of a body that are read: far more than any error has. This bounds the work.
local longest_body = 65536

-- Codes that only say that there was an error.
local vague_codes = {
  unknownerror = true,
  unknown_error = true,
  unknown = true,
  error = true,
  generalexception = true,
}

--- Whether a code is useless: one of these, or a number that repeats the status.
local function is_vague(code)
  return code == nil or vague_codes[code:lower()] == true or code:find "^%-?%d+$" ~= nil
end

--- The last of the codes, from the outermost to the innermost, that is not vague.
local function innermost_telling(codes)
  for index = #codes, 1, -1 do
    if not is_vague(codes[index]) then
      return codes[index]
    end
  end
end

-- Intune: "Application must have one of the following scopes: A, B - Operation ID …". Graph: "Missing scope
-- permissions on the request. API requires one of 'A, B'. Scopes on the request 'C'". These are the words before
-- the list of names.
local markers = {
  "one of the following scopes:",
  "one of the following permissions:",
  "api requires one of",
}

-- More names than any operation's, and longer than any name.
local most_names, longest_name = 20, 128

--- The permissions that an error's message lists, of which the application needs one. A name that was cut off is omitted.
---@return string[] names empty when it names none
function graph_error.missing_permissions(service_error)
  local names, words, position = {}, service_error and service_error.message or "", nil
  for _, marker in ipairs(markers) do
    position = position or words:lower():match(marker .. "()")
  end
  while position and #names < most_names do
    local word, after = words:match("^[ ,;'\"]*(%a[%w_.-]*)()", position)
    if not word then
      break
    end
    local name, full_stop = word:match "^(.-)(%.?)$"
    local is_cut = words:find("^\226\128\166", after) -- an ellipsis
    if #name <= longest_name and name:find "^%w+%.[%w.]+$" and not is_cut then
      names[#names + 1] = name
    elseif name ~= "or" and name ~= "and" then
      break
    end
    position = full_stop == "" and after or nil
  end
  return names
end

local function reason_of(found, code)
  local inner, names = innermost_telling(found.inner_codes), graph_error.missing_permissions(found)
  if names[1] then
    return table.concat(names, ", ")
  elseif found.aadsts then
    return found.aadsts
  elseif inner and inner ~= code then
    return inner
  elseif found.detail ~= found.message then
    return found.detail
  end
end

--- Reads a body. The known forms: Graph's own with inner errors and details, Intune's JSON inside
-- `message` up to four levels, the same words as plain text, Entra's OAuth errors, HTML pages; any of
-- them cut off, broken or followed by something else.
---@param body string? nil: there was no body
---@param content_type string? the header's value; only HTML makes a difference
---@return autopilot.GraphError error fields that the body does not have are nil
---@return boolean is_json the error is written in JSON, like every error of Graph's own
---@return string? page the title of a page of HTML
function graph_error.parse(body, content_type)
  if type(body) ~= "string" or body == "" then
    return {}, false
  end
  -- Without NULs, UTF-16 can be read as ASCII. Byte order marks go too.
  local text = body:sub(1, longest_body):gsub("%z", "")
  text = text:gsub("^\239\187\191", ""):gsub("^[\254\255][\254\255]", "")
  local is_html = type(content_type) == "string" and content_type:lower():find "html" ~= nil
  local found = forms.read(text, is_html)
  local code = innermost_telling(found.codes)
    or innermost_telling(found.inner_codes)
    or found.codes[#found.codes]
  return {
    code = code,
    message = found.message,
    reason = reason_of(found, code),
    activity_id = found.activity_id,
    request_id = found.request_id,
    retry_after = found.retry_after,
  },
    found.is_json == true,
    found.page
end

local forbidden_codes = {
  forbidden = true,
  accessdenied = true,
  authorization_requestdenied = true,
}

-- Parts of Intune's sentences about missing rights.
local forbidden_phrases = {
  "is not authorized to perform this operation",
  "must have one of the following scopes",
  "does not have application permissions configured",
}

local function lower_message(service_error)
  return (service_error and service_error.message or ""):lower()
end

--- Whether rights are missing, so that another token of the same application would be refused too. Intune
-- sends such a refusal with status 401 as well (msgraph-sdk-powershell#1257).
function graph_error.is_forbidden(service_error)
  local code = service_error and service_error.code
  if code and forbidden_codes[code:lower()] then
    return true
  end
  local message = lower_message(service_error)
  for _, phrase in ipairs(forbidden_phrases) do
    if message:find(phrase, 1, true) then
      return true
    end
  end
  return is_vague(code) and message:find "%f[%a]forbidden%f[%A]" ~= nil
end

-- What a sentence of the service means.
local phrases = {
  -- The tenant has no Intune licence or no MDM authority; with status 400 (msgraph-beta-sdk-go#198).
  not_licensed = "request not applicable to target tenant",
  -- The address exists in another cloud or API version only.
  unknown_segment = "resource not found for the segment",
}

--- Whether the service's error contains this phrase.
---@param what "not_licensed"|"unknown_segment"
function graph_error.says(service_error, what)
  return lower_message(service_error):find(phrases[what], 1, true) ~= nil
end

return graph_error
