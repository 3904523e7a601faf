--- A report as JSON (RFC 8259), in one line: keys sorted, so that two reports can be compared.
--
-- Not lua-cjson, which has no order of keys, cuts numbers to 14 digits (times need 17), passes invalid
-- UTF-8 on, and cannot tell an empty list from an empty object.

local json = {}

-- Lists of a report, which are `[]` when they are empty; every other empty table is `{}`.
local lists = { attempts = true, steps = true }

-- Well-formed characters by their length (The Unicode Standard, table 3-7).
local characters = {
  "^[\194-\223][\128-\191]",
  "^\224[\160-\191][\128-\191]",
  "^[\225-\236\238\239][\128-\191][\128-\191]",
  "^\237[\128-\159][\128-\191]",
  "^\240[\144-\191][\128-\191][\128-\191]",
  "^[\241-\243][\128-\191][\128-\191][\128-\191]",
  "^\244[\128-\143][\128-\191][\128-\191]",
}
local replacement = "\239\191\189" -- U+FFFD

local function character_at(bytes, position)
  for _, pattern in ipairs(characters) do
    local _, last = bytes:find(pattern, position)
    if last then
      return bytes:sub(position, last)
    end
  end
end

--- Bytes above ASCII with U+FFFD in place of each that is in no character.
local function repair(bytes)
  local parts, position = {}, 1
  while position <= #bytes do
    local character = character_at(bytes, position)
    parts[#parts + 1] = character or replacement
    position = position + #(character or "x")
  end
  return table.concat(parts)
end

local short_escapes =
  { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(character)
  return short_escapes[character] or ("\\u%04x"):format(character:byte())
end

local function encode_string(text)
  if text:find '[%c"\\\128-\255]' then
    text = text:gsub('[%c"\\]', escape):gsub("[\128-\255]+", repair)
  end
  return '"' .. text .. '"'
end

--- A number as `format` writes it, but with the point that JSON wants: a locale may have a comma.
local function formatted(format, number)
  return (format:format(number):gsub("[^%d%+e-]", "."))
end

--- A number in as few digits as tell it; what JSON has no number for is null.
--
-- A duration is told to the microsecond, as what follows is noise of arithmetic. A time is so large
-- that all its digits are needed: a script may compare it with the same stamp read again.
local function encode_number(number)
  if number ~= number or number == math.huge or number == -math.huge then
    return "null"
  elseif number == math.floor(number) and math.abs(number) < 1e15 then
    return ("%.0f"):format(number + 0.0) -- which makes -0 a 0
  elseif math.abs(number) < 1e7 then
    return (formatted("%.6f", number):gsub("%.?0+$", ""):gsub("^%-0$", "0"))
  end
  for digits = 14, 17 do
    local format = ("%%.%dg"):format(digits)
    if digits == 17 or tonumber(format:format(number)) == number then
      return formatted(format, number)
    end
  end
end

local add -- forward: tables contain values

local function add_list(parts, list)
  parts[#parts + 1] = "["
  for index, value in ipairs(list) do
    parts[#parts + 1] = index > 1 and "," or nil
    if not add(parts, value) then
      parts[#parts + 1] = "null"
    end
  end
  parts[#parts + 1] = "]"
end

local function add_object(parts, object)
  local keys = {}
  for key in pairs(object) do
    keys[#keys + 1] = type(key) == "string" and key or nil
  end
  table.sort(keys)
  local separator = "{"
  for _, key in ipairs(keys) do
    local count = #parts
    parts[count + 1], parts[count + 2], parts[count + 3] = separator, encode_string(key), ":"
    if add(parts, object[key], key) then
      separator = ","
    else
      parts[count + 1], parts[count + 2], parts[count + 3] = nil, nil, nil
    end
  end
  parts[#parts + 1] = separator == "{" and "{}" or "}"
end

--- Adds the JSON of a value to a list of texts; false when JSON cannot hold such a value.
function add(parts, value, key)
  local kind = type(value)
  if kind == "string" then
    parts[#parts + 1] = encode_string(value)
  elseif kind == "number" then
    parts[#parts + 1] = encode_number(value)
  elseif kind == "boolean" then
    parts[#parts + 1] = tostring(value)
  elseif kind ~= "table" then
    return false
  elseif value[1] ~= nil or (next(value) == nil and lists[key]) then
    add_list(parts, value)
  else
    add_object(parts, value)
  end
  return true
end

--- A table of strings, numbers, booleans and such tables as JSON, in pieces to be written one after the
-- other. Functions and userdata are left out.
--
-- In pieces, because LuaJIT and Lua 5.1 hash only some bytes of a long string: the reports of a fleet
-- differ in few bytes, and as whole strings 80,000 of them took 20 s to tell apart.
---@param value table
---@return string[]
function json.pieces(value)
  local parts = {}
  add(parts, value)
  return parts
end

--- The same as one text.
---@param value table
---@return string
function json.encode(value)
  return table.concat(json.pieces(value))
end

return json
