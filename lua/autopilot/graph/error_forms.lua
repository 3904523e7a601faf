--- The forms in which Graph, Intune, Entra and the gateways before them write an error.
--
-- The body is walked once, from the outside to the inside, and everything it says is noted. Which of it goes
-- into a report is decided in `autopilot.graph.error`.

local dates = require "autopilot.base.dates"
local loose_json = require "autopilot.graph.loose_json"
local sentence = require "autopilot.base.sentence"

local forms = {}

-- What a body says is gathered in a table, `found`, in the order in which it stands there. Besides the fields of
-- `autopilot.GraphError` it has `codes`, of the error and of the errors wrapped in its message; `inner_codes`, of
-- `innerError`, else of the first detail; `detail`, a further sentence; `aadsts`, that word and a number;
-- `permissions`, the names of which one is missing; `is_json`, an object had a code or a message; and `page`, the
-- title of a page.

-- The body itself and four levels of JSON inside JSON strings: the deepest that was seen. Each level is at
-- most as long as the one around it, so five passes are the most work there can be.
local deepest_level = 4

-- Entries of `details` that are looked at, and levels of `innerError` and of lists.
local most_details, most_inner = 8, 8

--- The first of several members of an object that `accept` takes.
---@param accept fun(value: any): any nil for a value that is not wanted
---@param ... string|integer names of the members
local function pick(object, accept, ...)
  for index = 1, select("#", ...) do
    local value = accept(object[select(index, ...)])
    if value ~= nil then
      return value
    end
  end
end

local function text(value)
  return type(value) == "string" and value ~= "" and value or nil
end

local function object_or_list(value)
  return type(value) == "table" and value or nil
end

--- The value as an error code, or nil: a short name for programs, not a sentence. JSON numbers are codes too.
local function code(value)
  if type(value) == "number" and value == math.floor(value) and math.abs(value) < 1e15 then
    return ("%.0f"):format(value)
  end
  local is_code = type(value) == "string" and #value <= 128 and value:find "^[%a_][%w_.:-]*$"
  return is_code and value or nil
end

--- An id that is not all zeros.
local function id(value)
  local is_id = text(value) and #value <= 64 and value:find "^[%w-]+$" and value:find "[^0-]"
  return is_id and value or nil
end

local function read_ids(found, object)
  found.request_id = found.request_id or pick(object, id, "request-id", "requestId", "trace_id")
  found.activity_id = found.activity_id or pick(object, id, "ActivityId", "activityId")
end

--- Stores the wait that an object asks for, if it is the longest so far.
local function read_retry_after(found, object)
  local value = object.RetryAfter or object.retryAfter
  local seconds
  if type(value) == "number" and value >= 0 and value < math.huge then
    seconds = math.min(value, dates.longest_wait)
  elseif type(value) == "string" and value:find "^[%d.,%s]+$" then
    seconds = dates.read_retry_after(value) -- not a date: what time it is, is not known here
  end
  if seconds then
    found.retry_after = math.max(seconds, found.retry_after or 0)
  end
end

local function read_inner_error(found, object)
  local inner = object
  for _ = 1, most_inner do
    inner = pick(inner, object_or_list, "innerError", "innererror", "inner_error")
    if not inner then
      return
    end
    found.inner_codes[#found.inner_codes + 1] = pick(inner, code, "code", "Code")
    read_ids(found, inner)
    local message = text(inner.message)
    found.detail = found.detail or message and sentence.clean(message)
  end
end

local read_text -- declared here: a text may contain an object that contains a text

local function read_details(found, object, level)
  local details = pick(object, object_or_list, "details", "Details")
  for index = 1, details and most_details or 0 do
    local detail = details[index]
    if type(detail) == "table" then
      if #found.inner_codes == 0 then
        found.inner_codes[1] = pick(detail, code, "code", "Code")
      end
      local message = pick(detail, text, "message", "Message")
      if message and not found.message then
        read_text(found, message, level + 1)
      elseif message and not found.detail then
        found.detail = sentence.clean(message)
      end
    end
  end
end

--- The message of an error. OData's older form is `{"lang": "en", "value": "…"}`.
local function message_of(object)
  local message = pick(object, text, "message", "Message", "error_description", "errorMessage")
  local localized = object_or_list(object.message)
  if not message and localized then
    message = text(localized.value)
  end
  return message or not code(object.error) and text(object.error) or nil
end

--- Reads the object of an error: code, message and what belongs to them.
local function read_error(found, object, level)
  found.codes[#found.codes + 1] =
    pick(object, code, "code", "Code", "ErrorCode", "errorCode", "error")
  read_ids(found, object)
  read_retry_after(found, object)
  read_inner_error(found, object)
  local message = message_of(object)
  found.is_json = found.is_json or message and true or found.codes[1] and true or nil
  if message then
    read_text(found, message, level + 1)
  end
  read_details(found, object, level)
  local numbers = object_or_list(object.error_codes)
  local number = numbers and code(numbers[1])
  found.aadsts = found.aadsts or number and "AADSTS" .. number
  local phrase = text(object.CustomApiErrorPhrase)
  found.detail = found.detail or phrase and sentence.clean(phrase)
end

local function read_value(found, value, level)
  -- Of a list the first entry is read; an error may stand inside `error`, even twice.
  for _ = 1, most_inner do
    if type(value) ~= "table" then
      break
    end
    local inside = value[1] or pick(value, object_or_list, "error", "Error", "odata.error")
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

-- ---- Missing permissions -----------------------------------------------------------------------------

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

--- The permissions that a message lists, of which the caller needs one. A name that was cut off is omitted.
---@param words string
---@return string[] names empty when the text names none
function forms.permissions(words)
  local names, lower, position = {}, words:lower(), nil
  for _, marker in ipairs(markers) do
    local start = lower:find(marker, 1, true)
    position = position or start and start + #marker
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

-- ---- Pages of gateways and captive portals -----------------------------------------------------------

local function without_markup(words)
  -- The class excludes `<`, so that a text of nothing but `<` is read once.
  return sentence.decode_references((words:gsub("<[^<>]*>", " ")))
end

--- Whether a text begins as HTML or XML does.
local function begins_as_page(words)
  return words:find "^%s*<[!?%a]" ~= nil
end

--- Returns the title of an HTML page, else its first heading, else its text up to the first script or style sheet; nil
-- for an empty page.
local function text_of_page(page)
  local lower = page:lower()
  local function text_between(start, finish, telling)
    local words = without_markup(page:sub(start, (finish or #page + 1) - 1))
    return words:find(telling) and words or nil
  end
  for _, name in ipairs { "title", "h1", "h2", "h3" } do
    local _, opening = lower:find("<" .. name .. "%f[%s>][^<>]*>")
    local closing = opening and lower:find("</" .. name, opening, true)
    local words = opening and text_between(opening + 1, closing, "%S")
    if words then
      return words
    end
  end
  local start = lower:find("<body", 1, true) or 1
  local finish = lower:find("<script", start, true) or lower:find("<style", start, true)
  return text_between(start, finish, "%w")
end

-- ---- Sentences ---------------------------------------------------------------------------------------

-- From these words on, a message is meant for Microsoft's support.
local support_marks = { " - Operation ID", " - Activity ID", " Trace ID:", " Correlation ID:" }

local guid = "^%x+%-%x+%-%x+%-%x+%-%x+$"

--- The GUID behind a mark, unless it is cut off.
local function id_after(line, mark)
  local _, finish = line:find(mark, 1, true)
  local found = finish and line:match("^[^:]*: *([%x-]+)", finish + 1)
  return found and #found == 36 and found:find(guid) and id(found) or nil
end

--- Reads a sentence, perhaps followed by ids and an address.
local function read_prose(found, prose)
  local line = sentence.line(prose)
  found.activity_id = found.activity_id
    or id_after(line, "Activity ID")
    or id_after(line, "Operation ID")
  found.aadsts = found.aadsts or line:match "%f[%w]AADSTS%d%d?%d?%d?%d?%d?%d?%d?%f[%D]"
  local finish = #line
  for _, mark in ipairs(support_marks) do
    local at = (" " .. line):find(mark, 1, true)
    finish = at and math.min(finish, at - 2) or finish
  end
  local words = line:sub(1, math.max(finish, 0))
  -- Brackets and punctuation alone, such as those of a broken document, say nothing.
  if not found.message and words:find "%a%a" then
    found.message = sentence.clean(words)
    local names = forms.permissions(words)
    found.permissions = found.permissions or (#names > 0 and names or nil)
  end
end

--- Reads JSON at the beginning of a text. If it contains no error, the text behind it is read; if it is cut off
-- or broken, its words are read as prose.
local function read_json(found, body, level)
  local value, rest = loose_json.read(body)
  local codes = #found.codes
  read_value(found, value, level)
  if found.message or #found.codes > codes or rest and rest > #body then
    return
  elseif rest then
    read_text(found, body:sub(rest), level + 1)
  else
    read_prose(found, body)
  end
end

--- Reads words with an object among them: `Forbidden: {"Message": …`.
local function read_words(found, words, level)
  local start = level < deepest_level and words:find '{%s*"'
  if start then
    found.codes[#found.codes + 1] = words:match "^%s*(%a[%w_.]*):"
    read_text(found, words:sub(start), level + 1)
    words = words:sub(1, start - 1)
  end
  read_prose(found, words)
end

function read_text(found, body, level, is_html)
  if level <= deepest_level and loose_json.begins(body) then
    read_json(found, body, level)
  elseif is_html or begins_as_page(body) then
    local title = sentence.clean(text_of_page(body) or "")
    found.message = found.message or title
    found.page = found.page or title
  else
    read_words(found, body, level)
  end
end

--- Gathers what a body says.
---@param body string
---@param is_html boolean the service calls it HTML; JSON is read as JSON all the same
---@return table found
function forms.read(body, is_html)
  local found = { codes = {}, inner_codes = {} }
  read_text(found, body, 0, is_html)
  return found
end

return forms
