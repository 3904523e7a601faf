--- Files that hold a secret or an assertion, read so that the message says what is wrong with them.
--
-- No message has a word of what the file holds. How often a file is read is left to the provider.

local core = require "autopilot.core"
local named_file = require "autopilot.base.named_file"

local secret_file = {}

-- Keys with their chain of certificates have some ten thousand bytes; an endless input is no secret.
local longest = 256 * 1024

local byte_order_mark = "\239\187\191" -- what editors on Windows put before UTF-8

--- A file name as it may stand in a message.
---@param path string
---@return string
function secret_file.printable(path)
  return (path:sub(1, 300):gsub("%c", "?"))
end

--- The whole text of a file, or nil and a sentence.
-- One that every user may read is refused unless `allow_world_readable`: what they can read is no
-- secret.
---@param path string
---@param allow_world_readable boolean?
---@return string? text
---@return string? message
function secret_file.read(path, allow_world_readable)
  if path:find("\0", 1, true) then
    return nil, "a file name must not contain NUL"
  end
  local complaint = named_file.read_complaint(path)
  if complaint then
    return nil, ("%s: %s"):format(secret_file.printable(path), complaint)
  end
  local file, reason = io.open(path, "rb")
  if not file then
    return nil, secret_file.printable(reason)
  elseif not allow_world_readable and core.is_world_readable(path) then
    file:close()
    local message = "%s can be read by every user of this machine: take that right away "
      .. "(chmod o-r), or set allow_world_readable = true"
    return nil, message:format(secret_file.printable(path))
  end
  local text
  text, reason = file:read(longest + 1)
  file:close()
  if not text then
    reason = reason and secret_file.printable(reason) or "it is empty"
    return nil, ("%s: %s"):format(secret_file.printable(path), reason)
  elseif #text > longest then
    return nil, ("%s: it is too large for a secret"):format(secret_file.printable(path))
  end
  return text
end

--- Without white space around it. In time that grows with the text only, whatever is in it.
local function trimmed(text)
  local text_from = text:find "%S" or #text + 1
  local blanks = text:reverse():match "^%s*"
  return text:sub(text_from, -#blanks - 1)
end

--- The one line that a file holds, without white space around it; or nil and a sentence.
---@param path string
---@param allow_world_readable boolean?
---@return string? line
---@return string? message
function secret_file.read_line(path, allow_world_readable)
  local text, message = secret_file.read(path, allow_world_readable)
  if not text then
    return nil, message
  elseif text:find "^\255\254" or text:find "^\254\255" then
    return nil, ("%s: it is text in UTF-16: save it as UTF-8"):format(secret_file.printable(path))
  elseif text:sub(1, #byte_order_mark) == byte_order_mark then
    text = text:sub(#byte_order_mark + 1)
  end
  local line = trimmed(text)
  if line == "" then
    return nil, ("%s: it is empty"):format(secret_file.printable(path))
  elseif line:find "[%c]" then
    return nil, ("%s: it must hold one line and nothing else"):format(secret_file.printable(path))
  end
  return line
end

return secret_file
