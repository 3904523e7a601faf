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
-- `innerError`, else of the first detail; `detail`, a further sentence; `aadsts`, that word and a number; `is_json`,
-- an object had a code or a message; and `page`, the title of a page.

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

local function read_detail(found, message)
  found.detail = found.detail or message and sentence.clean(message)
end

local function code_of(object)
  return pick(object, code, "code", "Code", "ErrorCode", "errorCode", "error")
end

--- The message of an error. OData's older form is `{"lang": "en", "value": "…"}`.
local function message_of(object)
  local message = pick(object, text, "message", "Message", "error_description", "errorMessage")
  local localized = object_or_list(object.message) or {}
  return message or text(localized.value) or not code(object.error) and text(object.error) or nil
end

local read_text -- declared here: a text may contain an object that contains a text

--- Reads the object of an error: code, message and what belongs to them.
local function read_error(found, object, level)
  local codes, inner_codes = found.codes, found.inner_codes
  codes[#codes + 1] = code_of(object)
  read_ids(found, object)
  read_retry_after(found, object)
  local inner = object
  for _ = 1, most_inner do
    inner = pick(inner, object_or_list, "innerError", "innererror", "inner_error") or {}
    inner_codes[#inner_codes + 1] = code_of(inner)
    read_ids(found, inner)
    read_detail(found, message_of(inner))
  end
  local message = message_of(object)
  found.is_json = found.is_json or message ~= nil or codes[1] ~= nil
  if message then
    read_text(found, message, level + 1)
  end
  local details = pick(object, object_or_list, "details", "Details") or {}
  for index = 1, most_details do
    local detail = object_or_list(details[index]) or {}
    inner_codes[1] = inner_codes[1] or code_of(detail)
    message = message_of(detail)
    if found.message then
      read_detail(found, message)
    elseif message then
      read_text(found, message, level + 1)
    end
  end
  local number = code((object_or_list(object.error_codes) or {})[1])
  found.aadsts = found.aadsts or number and "AADSTS" .. number
  read_detail(found, text(object.CustomApiErrorPhrase))
end

--- Reads a value of JSON. Of a list the first entry is read; an error may stand inside `error`, even twice.
local function read_value(found, value, level, depth)
  if type(value) == "string" then
    read_text(found, value, level + 1)
  elseif type(value) == "table" then
    local inside = depth < most_inner
      and (value[1] or pick(value, object_or_list, "error", "Error", "odata.error"))
    if inside then
      read_ids(found, value)
      read_value(found, inside, level, depth + 1)
    else
      read_error(found, value, level)
    end
  end
end

-- ---- Pages of gateways and captive portals -----------------------------------------------------------

--- Returns the title of an HTML page, else its first heading, else its text up to the first script or style sheet; nil
-- for an empty page.
local function text_of_page(page)
  local lower = page:lower()
  local function text_between(start, finish, telling)
    -- The class excludes `<`, so that a text of nothing but `<` is read once.
    local words = page:sub(start, (finish or #page + 1) - 1):gsub("<[^<>]*>", " ")
    words = sentence.decode_references(words)
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
  local words = " " .. line
  for _, mark in ipairs(support_marks) do
    local at = words:find(mark, 1, true)
    words = at and words:sub(1, at - 1) or words
  end
  -- Brackets and punctuation alone, such as those of a broken document, say nothing.
  if not found.message and words:find "%a%a" then
    found.message = sentence.clean(words)
  end
end

--- Reads JSON at the beginning of a text. If it contains no error, the text behind it is read; if it is cut off
-- or broken, its words are read as prose.
local function read_json(found, body, level)
  local value, rest = loose_json.read(body)
  local codes = #found.codes
  read_value(found, value, level, 0)
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
  elseif is_html or body:find "^%s*<[!?%a]" then
    local title = sentence.clean(text_of_page(body) or "")
    found.message = found.message or title
    found.page = found.page or title
  else
    read_words(found, body, level)
  end
end

--- Gathers what a body says.
---@param is_html boolean the service calls it HTML; JSON is read as JSON all the same
function forms.read(body, is_html)
  local found = { codes = {}, inner_codes = {} }
  read_text(found, body, 0, is_html)
  return found
end

return forms
