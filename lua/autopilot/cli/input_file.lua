--- Files that a user names, opened so that the message tells what is wrong with them.

local core = require "autopilot.core"
local line_reader = require "autopilot.cli.line_reader"
local named_file = require "autopilot.base.named_file"
local utf16 = require "autopilot.cli.utf16"

local input_file = {}

-- Bytes read at a time.
local piece = 64 * 1024

--- Whether the stream is a file, whose text is still there when it is read again, and no pipe.
local function is_rereadable(file)
  return file:seek "cur" ~= nil
end

--- The file, opened and not read from yet; or nil and why it cannot be used.
local function open(path)
  local complaint = named_file.read_complaint(path, true)
  if complaint then
    return nil, ("%s: %s"):format(path, complaint)
  end
  return io.open(path, "rb")
end

--- Why a file cannot be used, or nil when it can. Nothing is read from a pipe.
---@param path string
---@return string? message
function input_file.complaint(path)
  local file, message = open(path)
  if not file then
    return message
  end
  local reason = is_rereadable(file) and not file:read(1) and "it is empty"
  file:close()
  return reason and ("%s: %s"):format(path, reason) or nil
end

--- The text of a file.
---@param path string
---@param most integer bytes
---@return string? text
---@return string|boolean message_or_rereadable without text the reason; else whether it can be read again
function input_file.read(path, most)
  local file, message = open(path)
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
---@return number|string|nil size_or_message bytes of the text in UTF-8, nil where they are not known; without lines the reason
---@return fun()? close
function input_file.lines(path, stdin, longest)
  if path == "-" then
    return line_reader.new(reader_of(stdin), longest)
  end
  local file, message = open(path) -- once: whoever writes into a pipe must not lose its reader
  if not file then
    return nil, message
  end
  local size
  if is_rereadable(file) then
    local beginning = file:read(2)
    if not beginning then
      file:close()
      return nil, path .. ": it is empty"
    end
    size = file:seek "end"
    -- As UTF-8, in which names of tenants have a byte for each letter.
    size = utf16.is_marked(beginning) and size / 2 or size
    file:seek "set"
  end
  return line_reader.new(reader_of(file), longest), size, function()
    file:close()
  end
end

return input_file
