--- Reads the lines of a list of tenants, as they are needed, in UTF-8; and the values of a line of CSV.
--
-- UTF-16 with a byte order mark is read too: Excel saves "Unicode Text" so, and `>` in Windows PowerShell
-- writes it.
--
-- Readers of pieces and of lines return false while none is there yet, and nil at the end, or
-- nil and a message when it fails.

local core = require "autopilot.core"
local named_file = require "autopilot.base.named_file"
local utf8_of = require("autopilot.base.sentence").utf8

local lines = {}

-- Bytes; a line with a few names is never longer.
lines.longest = 64 * 1024

local bytes_at_a_time = 64 * 1024
local little_endian, big_endian = "\255\254", "\254\255"
local replacement = 0xFFFD

local function has_utf16_mark(bytes)
  local mark = bytes:sub(1, 2)
  return mark == little_endian or mark == big_endian
end

--- UTF-16 with its mark as UTF-8, with U+FFFD for half of a surrogate pair and for half of a code unit.
local function from_utf16(bytes)
  local parts, high, is_big = {}, nil, bytes:sub(1, 2) == big_endian
  for first, second in bytes:sub(3):gmatch "(.)(.?)" do
    local a, b = first:byte(), second:byte()
    local unit = not b and replacement or is_big and a * 256 + b or b * 256 + a
    if high and unit >= 0xDC00 and unit < 0xE000 then
      -- Replaces the U+FFFD of the first half.
      parts[#parts] = utf8_of(0x10000 + (high - 0xD800) * 0x400 + unit - 0xDC00)
      high = nil
    else
      local is_half = unit >= 0xD800 and unit < 0xE000
      parts[#parts + 1] = utf8_of(is_half and replacement or unit)
      high = is_half and unit < 0xDC00 and unit
    end
  end
  return table.concat(parts)
end

--- Splits a text that comes in pieces into lines (UTF-16 when all of it is there). A line ends with LF, CR LF or CR.
-- Of a line that is too long, the beginning is returned, so that it can be reported and does not fill the memory.
---@param read fun(): string|false|nil, string? the next piece
---@param longest integer? bytes; of a longer line one more than that is given; default `lines.longest`
---@return fun(): string|false|nil, string? next_line without its end
function lines.reader(read, longest)
  longest = longest or lines.longest
  local function next_piece()
    local piece, message = read()
    while piece == false do
      coroutine.yield(false)
      piece, message = read()
    end
    return piece, message
  end
  return coroutine.wrap(function()
    local line, last_mark = "", ""
    local text, piece, message = "", next_piece()
    while piece and (#text + #piece < 2 or has_utf16_mark(text .. piece)) do
      text = text .. piece
      piece, message = next_piece()
    end
    text = text .. (piece or "")
    text = has_utf16_mark(text) and from_utf16(text) or text
    while text do
      for part, mark in text:gmatch "([^\r\n]*)([\r\n]?)" do
        line = (line .. part):sub(1, longest + 1)
        local is_second = mark == "\n" and last_mark == "\r" and part == "" -- of CR LF
        if mark ~= "" and not is_second then
          coroutine.yield(line)
          line = ""
        end
        last_mark = (part ~= "" or mark ~= "") and mark or last_mark
      end
      text, message = next_piece()
    end
    if line ~= "" and not message then
      coroutine.yield(line)
    end
    while true do
      coroutine.yield(nil, message)
    end
  end)
end

--- The lines of a file, one at a time as they are asked for.
---@param path string `-`: standard input
---@param stdin file*
---@return (fun(): string|false|nil, string?)? next_line without its end
---@return number|string|nil size_or_message bytes of the text in UTF-8, nil where they are not known; without lines the reason
function lines.open(path, stdin)
  local file, message = stdin
  if path ~= "-" then
    file, message = named_file.open(path, true) -- once: a pipe's writer ends when its reader closes
  end
  if not file then
    return nil, message
  end
  -- A pipe or a terminal, which may be slow, is not waited for.
  local is_slow = io.type(file) == "file" and not file:seek "cur"
  local next_line = lines.reader(function()
    if is_slow then
      return core.read_waiting(file)
    end
    return file:read(bytes_at_a_time)
  end)
  local size = file ~= stdin and not is_slow and file:seek "end" or nil
  if size == 0 then
    return nil, path .. ": it is empty"
  elseif size then
    file:seek "set"
    size = has_utf16_mark(file:read(2) or "") and size / 2 or size -- tenants' names are ASCII
    file:seek "set"
  end
  return next_line, size
end

--- The values of a line of CSV (RFC 4180); or nil and what is wrong with it, without any of its text. A line break
-- inside quotes, which the RFC allows, is refused, so that a missing quote costs one line and not all that follow.
function lines.values(line, separator)
  local fields, from = {}, 1
  repeat
    local text, last
    if line:byte(from) == 34 then
      local masked = line:sub(from + 1):gsub('""', "  ") -- two quotes are one that is text
      local quote = masked:find('"', 1, true)
      if not quote then
        return nil, "a quote is not closed in its line"
      end
      last = from + quote
      text = line:sub(from + 1, last - 1):gsub('""', '"')
    else
      last = (line:find(separator, from, true) or #line + 1) - 1
      text = line:sub(from, last)
      if text:find('"', 1, true) then
        return nil, "there is a quote in a field that does not begin with one"
      end
    end
    fields[#fields + 1] = text
    local after = line:sub(last + 1, last + 1)
    if after ~= "" and after ~= separator then
      return nil, "there is text behind a closing quote"
    end
    from = last + 2
  until after == ""
  return fields
end

-- The first bytes of files that are not text.
local beginnings = {
  { "PK\3\4", "it is an Excel workbook or another ZIP archive: save the sheet as CSV" },
  { "\208\207\17\224", "it is an Excel workbook (.xls): save the sheet as CSV" },
  { "\31\139", "it is compressed with gzip: unpack it first" },
  { "%PDF-", "it is a PDF" },
  { "SQLite format 3", "it is an SQLite database, such as the file of --state" },
  { "<", "it is HTML or XML" },
}

--- What a file is instead of text, by its first line; nil for text.
function lines.not_text(line)
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

return lines
