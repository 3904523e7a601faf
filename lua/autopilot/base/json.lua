--- JSON in and out: the one place of the library that uses lua-cjson.
--
-- lua-cjson notes the decimal point of the locale when a codec is made. A host program that calls
-- setlocale afterwards (GTK, Python and many desktop programs do) would make every fraction unreadable
-- and every written fraction invalid: so a new codec is made when the locale has changed. A codec of our
-- own is also out of reach of settings that other users of lua-cjson make.

local cjson = require "cjson.safe"

local json = {}

--- What stands for JSON's null. It is a userdata, and so counts as true.
json.null = cjson.null

local byte_order_mark = "\239\187\191"

local codec, locale

--- A codec for the locale of this moment.
local function renew()
  codec, locale = cjson.new(), os.setlocale(nil, "numeric")
  codec.encode_invalid_numbers(false)
  codec.encode_number_precision(14)
end

--- Reads a JSON text. A byte order mark before it is skipped. Never raises.
---@param text any
---@param is_strict boolean? refuses NaN, Infinity and hexadecimal numbers, which lua-cjson reads
---@return any value nil when this is no JSON text; null is `json.null`
---@return string? message what is wrong with the text
function json.decode(text, is_strict)
  if type(text) ~= "string" then
    return nil, "not a text"
  elseif text:sub(1, 3) == byte_order_mark then
    text = text:sub(4)
  end
  if os.setlocale(nil, "numeric") ~= locale then
    renew()
  end
  codec.decode_invalid_numbers(not is_strict)
  local value, message = codec.decode(text)
  if value == nil and text:find "%d[.eE]" then
    renew() -- the locale may be one of this thread alone, which os.setlocale does not tell
    codec.decode_invalid_numbers(not is_strict)
    value, message = codec.decode(text)
  end
  return value, message
end

--- Writes a value as JSON: numbers with 14 digits. Never raises.
---@param value any
---@return string? text
---@return string? message what cannot be written
function json.encode(value)
  if os.setlocale(nil, "numeric") ~= locale then
    renew()
  end
  return codec.encode(value)
end

return json
