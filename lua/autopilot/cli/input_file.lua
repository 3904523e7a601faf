--- Files that a user names, opened so that the message tells what is wrong with them.

local input_file = {}

--- Whether the stream is a file, whose text is still there when it is read again, and no pipe.
local function is_rereadable(file)
  return file:seek "cur" ~= nil
end

--- Why a file cannot be used, or nil when it can. A pipe is left untouched.
---@param path string
---@return string? message
function input_file.complaint(path)
  local file, message = io.open(path, "rb")
  if not file then
    return message
  end
  local usable, reason = true, nil
  if is_rereadable(file) then
    usable, reason = file:read(0) -- a folder can be opened, but not read
  end
  file:close()
  return not usable and ("%s: %s"):format(path, reason or "it is empty") or nil
end

--- The text of a file.
---@param path string
---@param most integer bytes
---@return string? text
---@return string|boolean message_or_rereadable without text the reason; else whether it can be read again
function input_file.read(path, most)
  local file, message = io.open(path, "rb")
  if not file then
    return nil, message
  end
  local rereadable = is_rereadable(file)
  local text, reason = file:read(most + 1)
  file:close()
  if not text then
    return nil, ("%s: %s"):format(path, reason or "it is empty")
  elseif #text > most then
    return nil, ("%s: it is too large"):format(path)
  end
  return text, rereadable
end

return input_file
