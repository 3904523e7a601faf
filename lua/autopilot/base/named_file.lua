--- Checks that a name stands for a regular file before it is opened: opening a pipe waits for its writer, and
-- reading a device may never end.

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

--- What is wrong with a name whose file is to be read, or nil. A missing file is not a complaint here: the
-- message of `io.open` tells it.
---@param path string
---@param allow_pipe boolean?
---@return string? complaint a clause such as `it is a folder`
function named_file.read_complaint(path, allow_pipe)
  local kind = core.file_kind(path, true)
  if kind == "pipe" and allow_pipe or is_descriptor(path) then
    return nil
  end
  return words[kind]
end

--- What is wrong with a name whose file is to be written, or nil. A symbolic link is refused, because
-- another user may have made it.
---@param path string
---@return string? complaint
function named_file.write_complaint(path)
  return words[core.file_kind(path)]
end

return named_file
