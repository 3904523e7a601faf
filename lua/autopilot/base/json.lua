--- Reads and writes JSON, as the only module of the library that uses lua-cjson.
--
-- A codec of lua-cjson keeps the decimal point of the locale in which it was made. When a host program
-- calls setlocale afterwards (GTK, Python and many desktop programs do), the codec can read no fraction
-- and writes invalid ones: so a new codec is made when the locale has changed. Other users of lua-cjson
-- cannot change the settings of this codec.

local cjson = require "cjson.safe"

local json = {}

--- JSON's null. It is a userdata, which Lua takes for true.
json.null = cjson.null

local byte_order_mark = "\239\187\191"

local codec, locale

--- The codec for the present locale; a new one if the locale has changed, or with `is_new`.
local function current(is_strict, is_new)
  local present = os.setlocale(nil, "numeric")
  if is_new or present ~= locale then
    codec, locale = cjson.new(), present
    codec.encode_invalid_numbers(false)
    codec.encode_number_precision(14)
  end
  codec.decode_invalid_numbers(not is_strict)
  return codec
end

--- Reads a JSON text. A byte order mark before it is skipped. Never raises.
---@param is_strict boolean? refuses NaN, Infinity and hexadecimal numbers, which lua-cjson reads
---@return any value nil when the text is not JSON; null is `json.null`
---@return string? message what is wrong with the text
function json.decode(text, is_strict)
  if type(text) ~= "string" then
    return nil, "not a text"
  elseif text:sub(1, 3) == byte_order_mark then
    text = text:sub(4)
  end
  local value, message = current(is_strict).decode(text)
  if value == nil and text:find "%d[.eE]" then
    -- The locale may be that of this thread only, which os.setlocale does not show.
    value, message = current(is_strict, true).decode(text)
  end
  return value, message
end

--- Writes a value as JSON: numbers with 14 digits. Never raises.
---@return string? text
---@return string? message what cannot be written
function json.encode(value)
  return current().encode(value)
end

return json
