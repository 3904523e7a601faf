--- A report as JSON (RFC 8259), in one line with sorted keys, so that two reports can be compared.
--
-- lua-cjson (`autopilot.base.json`) cannot do this: it has no order of keys, writes 14 digits where a time needs
-- 17, passes invalid UTF-8 on, and cannot tell an empty list from an empty object.

local codec = require "autopilot.base.json"

-- The lists of a report: they are `[]` when they are empty; every other empty table is `{}`.
local lists = { attempts = true, steps = true }

local function encode_string(text)
  if not text:find '[%c"\\\128-\255]' then
    return '"' .. text .. '"'
  end
  text = text:gsub("[\128-\255]+", require("autopilot.base.sentence").valid)
  -- Slashes stay as they are. Every escape is matched as a whole: `\\/` is a backslash and a slash, not `\` and `\/`.
  return (codec.encode(text):gsub("\\(.)", { ["/"] = "/" }))
end

--- A number in as few digits as identify it; null for NaN and infinity.
--
-- A duration is written to the microsecond: what follows is noise of arithmetic. A time is so large that all
-- its digits are needed: a script may compare it with the same stamp read again.
local function encode_number(number)
  local text
  if number ~= number or number == math.huge or number == -math.huge then
    return "null"
  elseif number == math.floor(number) and math.abs(number) < 1e15 then
    return ("%.0f"):format(number + 0.0) -- the addition makes -0 a 0
  elseif math.abs(number) < 1e7 then
    text = ("%.6f"):format(number):gsub("0+$", ""):gsub("%D$", ""):gsub("^%-0$", "0")
  else
    for digits = 14, 17 do
      text = ("%%.%dg"):format(digits):format(number)
      if tonumber(text) == number then
        break
      end
    end
  end
  return (text:gsub("[^%d%+e-]", ".")) -- a locale may have a decimal comma
end

local writers = { string = encode_string, number = encode_number, boolean = tostring }

--- Adds the JSON of a value, which is that of a key, to a list of texts; null for what JSON cannot hold.
local function add(parts, value, key)
  local write = writers[type(value)]
  if write then
    parts[#parts + 1] = write(value)
  elseif type(value) ~= "table" then
    parts[#parts + 1] = "null"
  elseif value[1] ~= nil or (next(value) == nil and lists[key]) then
    parts[#parts + 1] = "["
    for index, element in ipairs(value) do
      parts[#parts + 1] = index > 1 and "," or nil
      add(parts, element)
    end
    parts[#parts + 1] = "]"
  else
    local names = {}
    for name, field in pairs(value) do
      local has_value = writers[type(field)] or type(field) == "table"
      names[#names + 1] = type(name) == "string" and has_value and name or nil
    end
    table.sort(names)
    parts[#parts + 1] = "{"
    for index, name in ipairs(names) do
      parts[#parts + 1] = index > 1 and "," or nil
      parts[#parts + 1] = encode_string(name)
      parts[#parts + 1] = ":"
      add(parts, value[name], name)
    end
    parts[#parts + 1] = "}"
  end
end

--- A table of strings, numbers, booleans and such tables as JSON, in pieces to be written one after the
-- other. Functions and userdata are left out.
--
-- In pieces, because LuaJIT and Lua 5.1 hash only some bytes of a long string: the reports of a fleet differ
-- in few bytes, and 80,000 of them as whole strings took 20 s.
return function(value)
  local parts = {}
  add(parts, value)
  return parts
end
