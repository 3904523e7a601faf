--- Opens files that a user names. A message says what is wrong with a name.

local named_file = require "autopilot.base.named_file"

local input = {}

--- Opens a file or a pipe; or nil and why it cannot be used.
---@param path string
---@return file*?
---@return string? message
function input.open(path)
  local complaint = named_file.read_complaint(path, true)
  if complaint then
    return nil, ("%s: %s"):format(path, complaint)
  end
  return io.open(path, "rb")
end

--- Why a file cannot be used, or nil when it can. Nothing is read from a pipe.
function input.complaint(path)
  local file, message = input.open(path)
  if not file then
    return message
  end
  local is_empty = file:seek "end" == 0
  file:close()
  return is_empty and path .. ": it is empty" or nil
end

--- The text of a file of at most `most` bytes, and whether it can be read again, which a pipe cannot; or nil and what
-- is wrong.
---@return string? text
---@return string|boolean message_or_rereadable
function input.read(path, most)
  local file, message = input.open(path)
  if not file then
    return nil, message
  end
  local is_rereadable = file:seek "cur" ~= nil
  local text, reason = file:read(most + 1)
  file:close()
  if not text then
    return nil, ("%s: %s"):format(path, reason or "it is empty")
  elseif #text > most then
    return nil, path .. ": it is too large"
  end
  return text, is_rereadable
end

return input
