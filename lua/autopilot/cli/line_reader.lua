--- Lines out of a text that comes in pieces, as it comes. A line ends with LF, CR LF or CR.
--
-- Of a line without end the beginning is kept, so that it can be told and does not fill the memory.

local utf16 = require "autopilot.cli.utf16"

local line_reader = {}

---@param read fun(): string|false|nil, string? the next piece; false: none yet; nil: the end, or with a message a failure
---@param longest integer bytes; of a longer line one more than that is given
---@return fun(): string|false|nil, string? next_line in UTF-8, without its end; false, nil and a message as for `read`
function line_reader.new(read, longest)
  read = utf16.reader(read)
  local piece, from = "", 1
  local is_after_return = false -- a line feed now belongs to the line before
  local parts, length = {}, 0 -- of the line that is not there to its end

  local function keep(text)
    if length <= longest then
      parts[#parts + 1] = text:sub(1, longest + 1 - length)
    end
    length = length + #text
  end

  local function whole_line()
    local line = table.concat(parts)
    parts, length = {}, 0
    return line
  end

  return function()
    while true do
      if is_after_return and from <= #piece then
        from = piece:byte(from) == 10 and from + 1 or from
        is_after_return = false
      end
      local last = piece:find("[\r\n]", from)
      keep(piece:sub(from, (last or #piece + 1) - 1))
      if last then
        from, is_after_return = last + 1, piece:byte(last) == 13
        return whole_line()
      end
      local more, message = read()
      piece, from = more or "", 1
      if more == false then
        return false
      elseif more == nil and (message or length == 0) then
        return nil, message
      elseif more == nil then
        return whole_line()
      end
    end
  end
end

return line_reader
