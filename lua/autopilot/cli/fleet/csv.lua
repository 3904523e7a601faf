--- One line of comma-separated values (RFC 4180), read strictly.
--
-- A record is one line. A line break inside quotes, which the RFC allows, is refused, so that a missing quote
-- costs one line and not all that follow.

local csv = {}

--- The text of a quoted field and where it ends; or nil and what is wrong.
local function quoted(line, first)
  local parts, from = {}, first + 1
  while true do
    local quote = line:find('"', from, true)
    if not quote then
      return nil, "a quote is not closed in its line"
    end
    parts[#parts + 1] = line:sub(from, quote - 1)
    if line:sub(quote + 1, quote + 1) ~= '"' then
      return table.concat(parts, '"'), quote
    end
    from = quote + 2
  end
end

--- The fields of a line.
---@param line string without its end
---@param separator string one character
---@return string[]? fields at least one
---@return string? message what is wrong with it, without any of its text
function csv.fields(line, separator)
  local fields, from = {}, 1
  while true do
    local text, last
    if line:sub(from, from) == '"' then
      text, last = quoted(line, from)
      if not text then
        return nil, last
      end
    else
      last = (line:find(separator, from, true) or #line + 1) - 1
      text = line:sub(from, last)
      if text:find('"', 1, true) then
        return nil, "there is a quote in a field that does not begin with one"
      end
    end
    fields[#fields + 1] = text
    local after = line:sub(last + 1, last + 1)
    if after == "" then
      return fields
    elseif after ~= separator then
      return nil, "there is text behind a closing quote"
    end
    from = last + 2
  end
end

return csv
