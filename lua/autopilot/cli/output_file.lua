--- Writes a file of the command so that it is never incomplete: the text is written beside it, and then takes its place
-- in one step, except on Windows.

local core = require "autopilot.core"
local named_file = require "autopilot.base.named_file"

local is_windows = package.config:sub(1, 1) == "\\"

--- Writes or replaces a file; without a text it only finds out whether that is possible. A symbolic link is refused,
-- because the link would be replaced, and its target kept.
---@param is_secret boolean? only the owner can read the file
---@return string? complaint without the file's name
return function(path, text, is_secret)
  local complaint = named_file.write_complaint(path)
  if complaint then
    return complaint
  end
  -- Another user must not be able to make this file before: `make_private` refuses it, and a UUID cannot be guessed.
  local new = is_secret and path .. ".new" or ("%s.%s.new"):format(path, core.uuid())
  local file, reason
  if not is_secret or core.make_private(new) then
    file, reason = io.open(new, "wb")
  end
  if not file then
    return reason and reason:match "[^ :][^:]*$" or new .. " cannot be made"
  end
  local is_written, is_closed
  is_written, reason = file:write(text or "")
  is_closed, complaint = file:close()
  if not (text and is_written and is_closed) then
    os.remove(new)
    return reason or complaint
  elseif os.rename(new, path) then
    return nil
  elseif is_windows and core.file_kind(new) and os.remove(path) and os.rename(new, path) then
    return nil -- Windows does not rename to the name of an existing file
  end
  return "it cannot be replaced by " .. new
end
