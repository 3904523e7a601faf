--- Files that a user names, opened so that the message tells what is wrong with them.

local core = require "autopilot.core"
local line_reader = require "autopilot.cli.line_reader"

local input_file = {}

-- Bytes read at a time.
local piece = 64 * 1024

--- Whether the stream is a file, whose text is still there when it is read again, and no pipe.
local function is_rereadable(file)
  return file:seek "cur" ~= nil
end

--- The file, opened; or nil and why it cannot be used. A pipe is left untouched.
local function open(path)
  local file, message = io.open(path, "rb")
  if not file then
    return nil, message
  end
  local usable, reason = true, nil
  if is_rereadable(file) then
    usable, reason = file:read(0) -- a folder can be opened, but not read
  end
  if not usable then
    file:close()
    return nil, ("%s: %s"):format(path, reason or "it is empty")
  end
  return file
end

--- Why a file cannot be used, or nil when it can.
---@param path string
---@return string? message
function input_file.complaint(path)
  local file, message = open(path)
  if file then
    file:close()
  end
  return message
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

--- The next piece of what can be waited for, a pipe or a terminal, is what is there; of a file it is what
-- the disk gives. A failure in the middle is told by a message, and is no end.
local function reader_of(file)
  local is_stream = io.type(file) == "file" and not is_rereadable(file)
  return function()
    if is_stream then
      return core.read_waiting(file)
    end
    return file:read(piece)
  end
end

--- The lines of a file, one at a time as they are asked for.
---@param path string `-`: standard input
---@param stdin file*
---@param longest integer bytes of a line; of a longer one the beginning is given
---@return (fun(): string|false|nil, string?)? next_line without its line feed; false while none is there yet; nil at the end; nil and a message
---@return number|string|nil size_or_message bytes, nil where they are not known; without lines the reason
---@return fun()? close
function input_file.lines(path, stdin, longest)
  if path == "-" then
    return line_reader.new(reader_of(stdin), longest)
  end
  local file, message = open(path) -- once: whoever writes into a pipe must not lose its reader
  if not file then
    return nil, message
  end
  return line_reader.new(reader_of(file), longest),
    core.file_size(path),
    function()
      file:close()
    end
end

return input_file
