--- Recognizes files that are not text by how they begin.

local not_text = {}

local beginnings = {
  { "PK\3\4", "it is an Excel workbook or another ZIP archive: save the sheet as CSV" },
  { "\208\207\17\224", "it is an Excel workbook (.xls): save the sheet as CSV" },
  { "\31\139", "it is compressed with gzip: unpack it first" },
  { "%PDF-", "it is a PDF" },
  { "SQLite format 3", "it is an SQLite database, such as the file of --state" },
  { "<", "it is HTML or XML" },
}

--- What kind of file it is, or nil for a text.
---@param line string its first line
---@return string? complaint
function not_text.complaint(line)
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

return not_text
