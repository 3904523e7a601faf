--- A list of tenants: JSON Lines, CSV with a header, or plain names; read line by line as it is needed.
--
-- Which of them it is the first line tells. A line that is wrong is told by its number and left out,
-- and so is a tenant that was there before: the others go on. What is wrong with the list as a whole
-- (its encoding, its header) is told before any tenant. In memory is what was seen of each tenant: its
-- name, to know it again.

local csv = require "autopilot.cli.fleet.csv"
local json = require "autopilot.base.json"
local not_text = require "autopilot.cli.not_text"
local tenant_fields = require "autopilot.cli.fleet.tenant_fields"

local tenant_list = {}

---@class autopilot.cli.TenantList
---@field count integer tenants so far
---@field bad integer lines that were left out because they are wrong
---@field duplicates integer lines that were left out because their tenant was there before
---@field is_complete boolean the list was read to its end
---@field failure string? why the rest of it could not be read
local TenantList = {}
TenantList.__index = TenantList

-- Bytes; a line with a few names is never longer.
tenant_list.longest_line = 64 * 1024

local byte_order_mark = "\239\187\191"

-- Names of ignored columns that are told.
local most_shown = 8

--- The next line without its end; false when it is not there yet, nil at the end of the list.
local function next_line(self)
  local text, failure = self.read_line()
  if not text then
    self.failure = self.failure or failure
    return text
  end
  self.line = self.line + 1
  self.bytes = self.bytes + #text + 1
  return text
end

local function is_blank(text)
  return not text:find "%S"
end

--- Says once which names in the list are not used.
local function tell_ignored(self, ignored)
  if #ignored > 0 and not self.has_told_ignored then
    self.has_told_ignored = true
    local more = #ignored > most_shown and (" and %d more"):format(#ignored - most_shown) or ""
    local names = table.concat(ignored, ", ", 1, math.min(#ignored, most_shown))
    self.complain(("line %d: columns that are ignored: %s%s"):format(self.line, names, more))
  end
end

--- The reader of a plain list: one name in each line, `#` begins a comment. Quotes around a name and
-- separators behind it are removed: they come with names that were copied from a table or a program.
local function read_plain(_, text)
  if text:find "^%s*#" then
    return nil
  end
  local tenant = text:gsub("[%s,;]+$", ""):gsub("^%s+", "")
  return { tenant = tenant:match '^"(.*)"$' or tenant:match "^'(.*)'$" or tenant }
end

--- The reader of JSON Lines: an object in each.
local function read_json(self, text)
  local object = json.decode(text)
  if type(object) ~= "table" or object[1] ~= nil then
    return nil, "is no JSON object"
  end
  local names = {}
  for name in pairs(object) do
    names[#names + 1] = name
  end
  table.sort(names)
  local columns, message = tenant_fields.columns(names, self.column)
  if not columns then
    return nil, message or "tenant is missing"
  end
  tell_ignored(self, columns.ignored)
  local fields = {}
  for index, field in pairs(columns.fields) do
    local value = object[names[index]]
    fields[field] = value ~= json.null and value or nil
  end
  return fields
end

--- The values of a line, without the empty ones at its end that are beyond so many.
local function values_of(text, separator, least)
  local values, message = csv.fields(text, separator)
  while values and #values > least and is_blank(values[#values]) do
    values[#values] = nil
  end
  return values, message
end

--- The reader of CSV records with so many columns.
local function csv_reader(fields_of, count, separator)
  return function(_, text)
    local values, message = values_of(text, separator, count)
    if not values then
      return nil, message
    elseif table.concat(values):find "%S" == nil then
      return nil -- what a spreadsheet makes of an empty row
    elseif #values ~= count then
      return nil, ("its number of fields is %d, not %d as in the header"):format(#values, count)
    end
    local fields = {}
    for index, name in pairs(fields_of) do
      fields[name] = values[index]:match "^%s*(.-)%s*$"
    end
    return fields
  end
end

--- What separates the fields of a line. Spreadsheets write a semicolon where the comma is in their numbers,
-- and a tab where they are asked for text.
local function separator_of(text)
  if text:find "%S%s*\t" and text:find "\t%s*%S" then
    return "\t"
  end
  return text:find(";", 1, true) and not text:find(",", 1, true) and ";" or ","
end

--- The reader of a list whose first line may be a header, and whether it is; or nil and a message.
local function choose_table(self, text)
  local separator = self.separator or separator_of(text)
  local names = values_of(text, separator, 1)
  local columns, message = tenant_fields.columns(names or {}, self.column)
  if message then
    return nil, message
  elseif columns then
    tell_ignored(self, columns.ignored)
    return csv_reader(columns.fields, #names, separator), true
  elseif self.column then
    return nil, "it has no column of the name that was given with --column"
  elseif not names or #names > 1 then
    return nil,
      "a CSV file begins with the names of its columns, one of them 'tenant': where another column "
        .. "has the tenant, name it with --column"
  end
  local is_header = tenant_fields.is_header(names[1])
  if is_header then
    self.complain(("line %d: it is no tenant, and was taken for a header"):format(self.line))
  end
  return read_plain, is_header
end

--- The reader that the first line asks for, and whether that line is a header; or nil and a message.
local function choose_reader(self, text)
  if text:find "^%s*{" and not text:find "^%s*{%x+%-[%x%-]+}" then
    return read_json, false
  elseif text:find "^%s*%[" then
    return nil,
      "it is a JSON array: write each of its objects in a line of its own, as jq -c '.[]' does"
  end
  return choose_table(self, text)
end

--- What is wrong with a line whatever is in it, or nil.
local function line_complaint(text)
  if #text > tenant_list.longest_line then
    return "is too long"
  elseif text:find("\0", 1, true) then
    return "has a NUL in it"
  end
end

--- The fields of the next tenant and the line it stands in; false when it is not there yet, nil at the end.
local function next_fields(self)
  while true do
    local text = self.first or next_line(self)
    self.first = nil
    if not text then
      return text
    elseif not is_blank(text) then
      local message = line_complaint(text)
      local fields
      if not message then
        fields, message = self:read(text)
      end
      message = message or (fields and tenant_fields.complaint(fields))
      if message then
        self:refuse(self.line, message)
      elseif fields then
        return fields, self.line
      end
    end
  end
end

--- Leaves a line out: tells why, and counts it.
---@param line integer
---@param message string
function TenantList:refuse(line, message)
  self.bad = self.bad + 1
  self.complain(("line %d: %s"):format(line, message))
end

--- The next tenant that was not there before; false when it is not there yet, nil at the end of the list.
---@return autopilot.cli.Tenant|false|nil
function TenantList:next()
  while true do
    local fields, line = next_fields(self)
    if not fields then
      self.is_complete = fields == nil and not self.failure
      return fields
    end
    -- A domain may be a tenant's in each cloud.
    local key = (fields.cloud or self.cloud) .. "/" .. fields.tenant:lower()
    local before = self.seen[key]
    if not before then
      self.seen[key] = line
      self.count = self.count + 1
      fields.line = line
      return fields
    end
    self.duplicates = self.duplicates + 1
    self.complain(
      ("line %d: %s is in line %d already: left out"):format(line, fields.tenant, before)
    )
  end
end

--- How many tenants there will be in all: told when all were read, else estimated by the length of what
-- was; nil when that cannot be.
---@return number? count
---@return boolean is_exact
function TenantList:expected()
  if self.is_complete then
    return self.count, true
  elseif self.size and self.size > 0 and self.count > 0 then
    local estimate = self.count * math.max(1, self.size / self.bytes)
    return math.floor(estimate + 0.5), false
  end
  return nil, false
end

---@class autopilot.cli.TenantListOptions
---@field read_line fun(): string|false|nil, string? the next line without its line feed; false: it is not there yet; nil and a message: it cannot be read
---@field pause (fun(): string?)? called while the first line is not there yet; may say why it is not waited for
---@field complain fun(message: string) takes each sentence about a line
---@field cloud string that of tenants which name none
---@field column string? the name of the column that has the tenant
---@field size number? bytes of the list in UTF-8, when they are known

--- The first lines have to be there.
local function wait_for_line(self, pause)
  local text = next_line(self)
  while text == false do
    self.failure = pause()
    if self.failure then
      return nil
    end
    text = next_line(self)
  end
  return text
end

--- The separator of a first line such as `sep=;`, which Excel obeys and hides; or nil.
local function separator_told(text)
  return text:match '^"?[Ss][Ee][Pp]=([,;\t|])"?%s*$'
end

--- Opens a list: reads as much as tells which kind it is.
---@param given autopilot.cli.TenantListOptions
---@return autopilot.cli.TenantList?
---@return string? mistake what is wrong with the list as a whole
function tenant_list.open(given)
  local self = setmetatable({
    read_line = given.read_line,
    complain = given.complain,
    cloud = given.cloud,
    column = given.column,
    size = given.size,
    count = 0,
    bad = 0,
    duplicates = 0,
    line = 0,
    bytes = 0,
    seen = {},
    is_complete = false,
  }, TenantList)
  local text = wait_for_line(self, given.pause)
  text = text and text:gsub("^" .. byte_order_mark, "")
  local mistake = text and not_text.complaint(text)
  if mistake then
    return nil, mistake
  end
  while text and (is_blank(text) or text:find "^%s*#" or separator_told(text)) do
    self.separator = separator_told(text) or self.separator
    text = wait_for_line(self, given.pause)
  end
  if not text then
    local failure = self.failure
    return nil, failure and "it cannot be read: " .. failure or "there is no tenant in it"
  end
  local has_header
  self.read, has_header = choose_reader(self, text)
  if not self.read then
    return nil, ("line %d: %s"):format(self.line, has_header)
  end
  self.first = not has_header and text or nil
  return self
end

return tenant_list
