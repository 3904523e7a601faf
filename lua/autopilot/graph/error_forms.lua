--- The forms in which Graph, Intune, Entra and the gateways before them tell an error.
--
-- One walk gathers what a body says, from the outside to the inside. What of it is told in the end is
-- left to `autopilot.graph.error`.

local dates = require "autopilot.base.dates"
local html = require "autopilot.graph.html"
local json_text = require "autopilot.graph.loose_json"
local permissions = require "autopilot.graph.permissions"
local sentence = require "autopilot.base.sentence"

local forms = {}

--- What was found in a body, in the order in which it was met.
---@class autopilot.graph_error.Findings
---@field codes string[] of the error and of the errors wrapped in its message: the last is the innermost
---@field inner_codes string[] of `innerError`, the last is the innermost; else of the first detail
---@field message string? for people, clean
---@field detail string? a further sentence, clean
---@field aadsts string? `AADSTS` and a number
---@field permissions string[]? names of which one is missing
---@field activity_id string?
---@field request_id string?
---@field client_request_id string?
---@field retry_after number? seconds
---@field is_json true? an object had a code or a message
---@field page string? the title of a page, clean

-- The body itself and four levels of JSON inside JSON strings, which is the deepest seen. Each level
-- is at most as long as the one around it, so that five passes are the most work there can be.
local deepest_level = 4

-- Entries of `details` that are looked at, and levels of `innerError` and of lists.
local most_details, most_inner = 8, 8

-- The largest wait that is told apart, as in dates.read_retry_after.
local longest_wait = 2 ^ 31

local function text_in(object, ...)
  for index = 1, select("#", ...) do
    local value = object[select(index, ...)]
    if type(value) == "string" and value ~= "" then
      return value
    end
  end
end

local function table_in(object, ...)
  for index = 1, select("#", ...) do
    local value = object[select(index, ...)]
    if type(value) == "table" then
      return value
    end
  end
end

--- A code is a name that programs compare, not a sentence; JSON numbers serve as well.
local function code_in(object, ...)
  for index = 1, select("#", ...) do
    local value = object[select(index, ...)]
    if type(value) == "number" and value == math.floor(value) and math.abs(value) < 1e15 then
      return ("%.0f"):format(value)
    elseif type(value) == "string" and #value <= 128 and value:find "^[%a_][%w_.:-]*$" then
      return value
    end
  end
end

local function id_in(object, ...)
  local value = text_in(object, ...)
  local is_id = value and #value <= 64 and value:find "^[%w-]+$" and value:find "[^0-]"
  return is_id and value or nil
end

local function read_ids(found, object)
  found.request_id = found.request_id or id_in(object, "request-id", "requestId", "trace_id")
  found.client_request_id = found.client_request_id
    or id_in(object, "client-request-id", "clientRequestId", "correlation_id")
  found.activity_id = found.activity_id or id_in(object, "ActivityId", "activityId")
end

--- The longest wait that any level asks for: none of them was promised less.
local function read_retry_after(found, object)
  local value = object.RetryAfter or object.retryAfter
  local seconds
  if type(value) == "number" and value >= 0 and value < math.huge then
    seconds = math.min(value, longest_wait)
  elseif type(value) == "string" and value:find "^[%d.,%s]+$" then
    seconds = dates.read_retry_after(value) -- a date is not read: nobody knows here what time it is
  end
  if seconds then
    found.retry_after = math.max(seconds, found.retry_after or 0)
  end
end

local function read_inner_error(found, object)
  local inner = object
  for _ = 1, most_inner do
    inner = table_in(inner, "innerError", "innererror", "inner_error")
    if not inner then
      return
    end
    found.inner_codes[#found.inner_codes + 1] = code_in(inner, "code", "Code")
    read_ids(found, inner)
    local message = not found.detail and text_in(inner, "message")
    found.detail = found.detail or message and sentence.clean(message) or nil
  end
end

local read_text -- forward: a text may hold an object that holds a text

local function read_details(found, object, level)
  local details = table_in(object, "details", "Details")
  for index = 1, details and most_details or 0 do
    local detail = details[index]
    if type(detail) == "table" then
      if #found.inner_codes == 0 then
        found.inner_codes[1] = code_in(detail, "code", "Code")
      end
      local message = text_in(detail, "message", "Message")
      if message and not found.message then
        read_text(found, message, level + 1)
      elseif message and not found.detail then
        found.detail = sentence.clean(message)
      end
    end
  end
end

--- An error as such: code, message and what belongs to them.
local function read_error(found, object, level)
  found.codes[#found.codes + 1] = code_in(object, "code", "Code", "ErrorCode", "errorCode", "error")
  read_ids(found, object)
  read_retry_after(found, object)
  read_inner_error(found, object)
  local message = text_in(object, "message", "Message", "error_description", "errorMessage")
  if not message then
    -- OData's older form: {"lang": "en", "value": "…"}.
    local localized = table_in(object, "message")
    message = localized and text_in(localized, "value")
      or not code_in(object, "error") and text_in(object, "error")
  end
  found.is_json = found.is_json or message and true or found.codes[1] and true or nil
  if message then
    read_text(found, message, level + 1)
  end
  read_details(found, object, level)
  local number = table_in(object, "error_codes")
  number = number and code_in(number, 1)
  found.aadsts = found.aadsts or number and "AADSTS" .. number
  local phrase = text_in(object, "CustomApiErrorPhrase")
  found.detail = found.detail or phrase and sentence.clean(phrase)
end

local function read_value(found, value, level)
  -- A list says what its first entry says; an error may stand inside `error`, even twice.
  for _ = 1, most_inner do
    if type(value) ~= "table" then
      break
    end
    local inside = value[1] or table_in(value, "error", "Error", "odata.error")
    if not inside then
      break
    end
    read_ids(found, value)
    value = inside
  end
  if type(value) == "table" then
    read_error(found, value, level)
  elseif type(value) == "string" then
    read_text(found, value, level + 1)
  end
end

-- After these words a message is for Microsoft's support, not for people.
local support_marks = { " - Operation ID", " - Activity ID", " Trace ID:", " Correlation ID:" }

local guid = "^%x+%-%x+%-%x+%-%x+%-%x+$"

local function id_after(line, mark)
  local _, finish = line:find(mark, 1, true)
  local id = finish and line:match("^[^:]*: *([%x-]+)", finish + 1)
  -- A whole one: the text may be cut within.
  local is_id = id and #id == 36 and id:find(guid) and id:find "[^0-]"
  return is_id and id or nil
end

--- A sentence for people, perhaps followed by ids and an address.
local function read_prose(found, text)
  local line = sentence.line(text)
  found.activity_id = found.activity_id
    or id_after(line, "Activity ID")
    or id_after(line, "Operation ID")
  found.aadsts = found.aadsts or line:match "%f[%w]AADSTS%d%d?%d?%d?%d?%d?%d?%d?%f[%D]"
  local finish = #line
  for _, mark in ipairs(support_marks) do
    local at = (" " .. line):find(mark, 1, true)
    finish = at and math.min(finish, at - 2) or finish
  end
  local human = line:sub(1, math.max(finish, 0))
  -- Brackets and punctuation alone, such as a broken document's, tell nothing.
  if not found.message and human:find "%a%a" then
    found.message = sentence.clean(human)
    local names = permissions.names(human)
    found.permissions = found.permissions or (#names > 0 and names or nil)
  end
end

--- JSON at the beginning of a text. Only when it says nothing, what follows it counts, and the bare
-- text of what is cut or broken: there may be a telling word in it.
local function read_json(found, text, level)
  local value, rest = json_text.read(text)
  local codes = #found.codes
  read_value(found, value, level)
  local is_told = found.message or #found.codes > codes
  if is_told or rest and rest > #text then
    return
  elseif rest then
    read_text(found, text:sub(rest), level + 1)
  else
    read_prose(found, text)
  end
end

--- Words with an object among them: `Forbidden: {"Message": …`.
local function read_words(found, text, level)
  local start = level < deepest_level and text:find '{%s*"'
  if start then
    local code = text:match "^%s*(%a[%w_.]*):"
    found.codes[#found.codes + 1] = code
    read_text(found, text:sub(start), level + 1)
    text = text:sub(1, start - 1)
  end
  read_prose(found, text)
end

function read_text(found, text, level, is_html)
  if level <= deepest_level and json_text.begins(text) then
    read_json(found, text, level)
  elseif is_html or html.begins(text) then
    local title = html.text(text) or ""
    found.message = found.message or sentence.clean(title)
    found.page = found.page or sentence.clean(title, 120)
  else
    read_words(found, text, level)
  end
end

--- Gathers what a body says.
---@param text string
---@param is_html boolean it is known to be a page, unless it is JSON all the same
---@return autopilot.graph_error.Findings
function forms.read(text, is_html)
  local found = { codes = {}, inner_codes = {} }
  read_text(found, text, 0, is_html)
  return found
end

return forms
