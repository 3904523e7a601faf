--- Lines out of a text that comes in pieces, as it comes.
--
-- Of a line without end the beginning is kept, so that it can be told and does not fill the memory.

local line_reader = {}

---@param read fun(): string|false|nil, string? the next piece; false: none yet; nil: the end, or with a message a failure
---@param longest integer bytes; of a longer line one more than that is given
---@return fun(): string|false|nil, string? next_line without its line feed; false, nil and a message as for `read`
function line_reader.new(read, longest)
  local piece, from = "", 1
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
      local last = piece:find("\n", from, true)
      keep(piece:sub(from, (last or #piece + 1) - 1))
      if last then
        from = last + 1
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
