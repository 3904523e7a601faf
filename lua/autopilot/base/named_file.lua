--- What stands under the name of a file, told in words before it is opened: opening a pipe waits for its
-- writer, and reading a device may never end.

local core = require "autopilot.core"

local named_file = {}

local words = {
  folder = "it is a folder",
  link = "it is a symbolic link: name the file itself",
  pipe = "it is a named pipe",
  device = "it is a device",
  socket = "it is a socket",
}

--- Whether a name stands for something that this process has open, such as the pipe of `<(command)`.
---@param path string
---@return boolean
function named_file.is_descriptor(path)
  return path == "/dev/stdin" or path:find "^/dev/fd/%d+$" ~= nil or path:find "^/proc/self/fd/" ~= nil
end

--- Why the name is none of a file that can be read, or nil. Nothing of that name is no complaint here:
-- opening it tells more.
---@param path string
---@param allow_pipe boolean?
---@return string? complaint a clause such as `it is a folder`
function named_file.read_complaint(path, allow_pipe)
  local kind = core.file_kind(path, true)
  if kind == "pipe" and allow_pipe or named_file.is_descriptor(path) then
    return nil
  end
  return words[kind]
end

--- Why the name is none of a file to be written, or nil where a file or nothing has that name. A symbolic
-- link is refused: another user may have placed it.
---@param path string
---@return string? complaint
function named_file.write_complaint(path)
  return words[core.file_kind(path)]
end

return named_file
