--- Opens and reads files that a user names. A message has the name, and says what is wrong with it.
--
-- A name must stand for a regular file: opening a pipe waits for its writer, and reading a device may never end.

local core = require "autopilot.core"

local named_file = {}

local words = {
  folder = "it is a folder",
  link = "it is a symbolic link: name the file itself",
  pipe = "it is a named pipe",
  device = "it is a device",
  socket = "it is a socket",
}

--- Whether a name is that of a descriptor of this process, such as the pipe of a shell's `<(command)`.
local function is_descriptor(path)
  return path == "/dev/stdin" or path:find "^/dev/fd/" ~= nil or path:find "^/proc/self/fd/" ~= nil
end

--- A file name for a message.
function named_file.printable(path)
  return (path:sub(1, 300):gsub("%c", "?"))
end

--- Nil, and a message with the name of a file and what is wrong with it.
function named_file.failure(path, complaint)
  return nil, ("%s: %s"):format(named_file.printable(path), complaint)
end

--- Opens a file to read it; or nil and why it cannot be read.
---@param allow_pipe boolean? a named pipe may be opened; the name of a descriptor always may
---@return file*?
---@return string? message
function named_file.open(path, allow_pipe)
  if path:find("\0", 1, true) then
    return nil, "a file name must not contain NUL"
  end
  local kind = core.file_kind(path, true)
  local is_allowed = kind == "pipe" and allow_pipe or is_descriptor(path)
  if words[kind] and not is_allowed then
    return named_file.failure(path, words[kind])
  end
  local file, reason = io.open(path, "rb")
  return file, reason and named_file.printable(reason)
end

--- Why a file cannot be read, or nil when it can. Nothing is read from it.
function named_file.read_complaint(path)
  local file, message = named_file.open(path)
  if not file then
    return message
  end
  local is_empty = file:seek "end" == 0
  file:close()
  return is_empty and select(2, named_file.failure(path, "it is empty")) or nil
end

--- The text of a file, and whether it can be read again (a pipe cannot); or nil and what is wrong.
---@param most integer bytes; a file with more is refused
---@return string? text
---@return string|boolean message_or_rereadable
function named_file.read(path, most, allow_pipe)
  local file, message = named_file.open(path, allow_pipe)
  if not file then
    return nil, message
  end
  local is_rereadable = file:seek "cur" ~= nil
  local text, reason = file:read(most + 1)
  file:close()
  if not text then
    return named_file.failure(path, reason or "it is empty")
  elseif #text > most then
    return named_file.failure(path, "it is too large")
  end
  return text, is_rereadable
end

--- What is wrong with a name whose file is to be written, or nil. A symbolic link is refused, because
-- another user may have made it.
---@return string? complaint a clause such as `it is a folder`
function named_file.write_complaint(path)
  return words[core.file_kind(path)]
end

return named_file
