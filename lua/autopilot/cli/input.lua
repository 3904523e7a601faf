--- Files that a user names, and standard input: opened so that a message tells what is wrong with them, and
-- read line by line where they may be long.

local core = require "autopilot.core"
local named_file = require "autopilot.base.named_file"
local utf16 = require "autopilot.cli.utf16"

local input = {}

local bytes_at_a_time = 64 * 1024

--- Whether a stream is a file, which can be read again, and not a pipe.
local function is_rereadable(file)
  return file:seek "cur" ~= nil
end

--- The opened file; or nil and why it cannot be used.
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
function input.complaint(path)
  local file, message = open(path)
  if not file then
    return message
  end
  local is_empty = is_rereadable(file) and not file:read(1)
  file:close()
  return is_empty and path .. ": it is empty" or nil
end

--- The text of a file.
---@param path string
---@param most integer bytes
---@return string? text
---@return string|boolean message_or_rereadable without text the reason; else whether it can be read again
function input.read(path, most)
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
    return nil, path .. ": it is too large"
  end
  return text, rereadable
end

--- A reader of a file's pieces. What comes slowly, a pipe or a terminal, is not waited for: false then.
local function piece_reader(file)
  local is_slow = io.type(file) == "file" and not is_rereadable(file)
  return function()
    if is_slow then
      return core.read_waiting(file)
    end
    return file:read(bytes_at_a_time)
  end
end

--- Lines out of a text that comes in pieces. A line ends with LF, CR LF or CR. Of a line that is too long the
-- beginning is given, so that it can be reported and does not fill the memory.
---@param read fun(): string|false|nil, string? the next piece; false: none yet; nil: the end, or with a message a failure
---@param longest integer bytes; of a longer line one more than that is given
---@return fun(): string|false|nil, string? next_line in UTF-8, without its end; false, nil and a message as for `read`
function input.line_reader(read, longest)
  read = utf16.reader(read)
  local piece, from = "", 1
  local is_after_return = false -- a line feed that comes now belongs to the line before
  local line = "" -- the beginning of the line that has no end yet

  local function whole_line()
    local whole = line
    line = ""
    return whole
  end

  return function()
    while true do
      if is_after_return and from <= #piece then
        from = piece:byte(from) == 10 and from + 1 or from
        is_after_return = false
      end
      local last = piece:find("[\r\n]", from)
      line = (line .. piece:sub(from, (last or #piece + 1) - 1)):sub(1, longest + 1)
      if last then
        from, is_after_return = last + 1, piece:byte(last) == 13
        return whole_line()
      end
      local more, message = read()
      piece, from = more or "", 1
      if more == false then
        return false
      elseif more == nil and (message or line == "") then
        return nil, message
      elseif more == nil then
        return whole_line()
      end
    end
  end
end

--- The lines of a file, one at a time as they are asked for.
---@param path string `-`: standard input
---@param stdin file*
---@param longest integer bytes of a line; of a longer one the beginning is given
---@return (fun(): string|false|nil, string?)? next_line without its end; false while none is there yet; nil at the end; nil and a message
---@return number|string|nil size_or_message bytes of the text in UTF-8, nil where they are not known; without lines the reason
---@return fun()? close
function input.lines(path, stdin, longest)
  if path == "-" then
    return input.line_reader(piece_reader(stdin), longest)
  end
  local file, message = open(path) -- once: a pipe's writer ends when its reader closes
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
    size = utf16.is_marked(beginning) and size / 2 or size -- tenants' names are ASCII
    file:seek "set"
  end
  return input.line_reader(piece_reader(file), longest), size, function()
    file:close()
  end
end

-- How files begin that are not text.
local beginnings = {
  { "PK\3\4", "it is an Excel workbook or another ZIP archive: save the sheet as CSV" },
  { "\208\207\17\224", "it is an Excel workbook (.xls): save the sheet as CSV" },
  { "\31\139", "it is compressed with gzip: unpack it first" },
  { "%PDF-", "it is a PDF" },
  { "SQLite format 3", "it is an SQLite database, such as the file of --state" },
  { "<", "it is HTML or XML" },
}

--- What a file is instead of text, by its first line; nil for text.
---@param line string
---@return string? complaint
function input.not_text(line)
  for _, row in ipairs(beginnings) do
    if line:sub(1, #row[1]) == row[1] then
      return row[2]
    end
  end
  local first, second = line:byte(1, 2)
  if first and second and (first == 0) ~= (second == 0) then
    return "it is UTF-16 without a byte order mark: save it as UTF-8"
  elseif line:find("\0", 1, true) or line:find "[\1-\8\14-\31\127]" then
    return "it is no text"
  end
end

return input
