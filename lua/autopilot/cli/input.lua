--- Files that a user names, opened so that a message tells what is wrong with them.

local named_file = require "autopilot.base.named_file"

local input = {}

--- Opens a file or a pipe; or nil and why it cannot be used.
---@param path string
---@return file*? file
---@return string? message
function input.open(path)
  local complaint = named_file.read_complaint(path, true)
  if complaint then
    return nil, ("%s: %s"):format(path, complaint)
  end
  return io.open(path, "rb")
end

--- Why a file cannot be used, or nil when it can. Nothing is read from a pipe.
---@param path string
---@return string? message
function input.complaint(path)
  local file, message = input.open(path)
  if not file then
    return message
  end
  local is_empty = file:seek "end" == 0
  file:close()
  return is_empty and path .. ": it is empty" or nil
end

--- The text of a file.
---@param path string
---@param most integer bytes
---@return string? text
---@return string|boolean message_or_rereadable without text the reason; else whether it can be read again, as no pipe can
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
