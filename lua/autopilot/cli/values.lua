--- Options that take a value, and their values: from the text of an argument to what it means, or what it
-- must be.

local options = require "autopilot.base.options"

local values = {}

-- Three years: longer than anything that is waited for, and no overflow anywhere.
local longest = 1e8
local most = 999999

--- What adds options that take a value to a command: `option("--port", "PORT", "Listen there.",
-- values.count, 65535)`, where the fourth makes the converter of the name and of what follows.
---@param parser table of argparse
---@return fun(name: string, metavariable: string, description: string, convert: function, ...: any) option
function values.declarer(parser)
  return function(name, metavariable, description, convert, ...)
    parser:option(name, description):argname(metavariable):convert(convert(name, ...))
  end
end

local function complaint(name, must_be, text)
  local shown = text:sub(1, 80):gsub("%c", "?")
  return ("option '%s' must be %s (got '%s')"):format(name, must_be, shown)
end

--- Seconds above 0, fractions too.
---@param name string the option, as it is typed
---@return fun(text: string): number?, string? converter for argparse
function values.seconds(name)
  return function(text)
    -- Decimal digits only: tonumber would also take 0x10, 1e3 and, in LuaJIT, inf and nan.
    local is_decimal = text:match "^%d+%.?%d*$" or text:match "^%.%d+$"
    local seconds = is_decimal and tonumber(text)
    if not seconds or seconds <= 0 or seconds > longest then
      return nil, complaint(name, "a number of seconds above 0", text)
    end
    return seconds
  end
end

--- Seconds, 0 too.
---@param name string
---@return fun(text: string): number?, string?
function values.seconds_or_none(name)
  local above_none = values.seconds(name)
  return function(text)
    if text:match "^0+%.?0*$" then
      return 0
    end
    local seconds = above_none(text)
    return seconds, not seconds and complaint(name, "a number of seconds, 0 or more", text) or nil
  end
end

--- A whole number from 1 on.
---@param name string
---@param greatest integer?
---@return fun(text: string): integer?, string?
function values.count(name, greatest)
  greatest = greatest or most
  return function(text)
    local count = #text <= 9 and text:match "^%d+$" and tonumber(text)
    if not count or count < 1 or count > greatest then
      return nil, complaint(name, ("a whole number from 1 to %d"):format(greatest), text)
    end
    return count
  end
end

--- Any text but none.
---@param name string
---@return fun(text: string): string?, string?
function values.text(name)
  return function(text)
    if text == "" then
      return nil, ("option '%s' must not be empty"):format(name)
    end
    return text
  end
end

--- One of a few words.
---@param name string
---@param words string[]
---@return fun(text: string): string?, string?
function values.one_of(name, words)
  return function(text)
    local copy = {}
    for index, word in ipairs(words) do
      if text == word then
        return word
      end
      copy[index] = word
    end
    local meant = options.nearest(text, copy)
    local must_be = "one of " .. table.concat(words, ", ")
    local hint = meant and (": did you mean '%s'?"):format(meant) or ""
    return nil, complaint(name, must_be, text) .. hint
  end
end

return values
