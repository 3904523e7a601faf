--- One line of comma-separated values (RFC 4180), read strictly.
--
-- A record is one line. A line break inside quotes, which the RFC allows, is refused, so that a missing quote
-- costs one line and not all that follow.

--- The fields of a line; or nil and what is wrong with it, without any of its text.
---@param line string without its end
---@param separator string one character
---@return string[]? fields
---@return string? message
return function(line, separator)
  local fields, from = {}, 1
  repeat
    local text, last
    if line:byte(from) == 34 then
      local masked = line:sub(from + 1):gsub('""', "  ") -- two quotes are one that is text
      local quote = masked:find('"', 1, true)
      if not quote then
        return nil, "a quote is not closed in its line"
      end
      last = from + quote
      text = line:sub(from + 1, last - 1):gsub('""', '"')
    else
      last = (line:find(separator, from, true) or #line + 1) - 1
      text = line:sub(from, last)
      if text:find('"', 1, true) then
        return nil, "there is a quote in a field that does not begin with one"
      end
    end
    fields[#fields + 1] = text
    local after = line:sub(last + 1, last + 1)
    if after ~= "" and after ~= separator then
      return nil, "there is text behind a closing quote"
    end
    from = last + 2
  until after == ""
  return fields
end
