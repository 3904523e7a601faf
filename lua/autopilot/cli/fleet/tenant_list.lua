--- A list of tenants: JSON Lines, CSV with a header, or plain names; read line by line as it is needed.
--
-- The first line shows the format. A wrong line is reported with its number and skipped, and so
-- is a duplicate tenant; the others go on. An error of the list as a whole (its encoding, its
-- header) is reported before any tenant. Only the names of tenants are kept in memory, to find duplicates.
-- No message quotes a value, because that could be a secret in the wrong place.

local authority = require "autopilot.token.authority"
local clouds = require "autopilot.base.clouds"
local json = require "autopilot.base.json"
local lines = require "autopilot.cli.fleet.lines"
local merged = require "autopilot.base.merged"
local nearest = require("autopilot.base.option_mistake").nearest
local refuse = require("autopilot.cli.options").refuse
local words = require "autopilot.cli.text"

---@class autopilot.cli.Tenant
---@field tenant string id or domain
---@field cloud string?
---@field client_id string?
---@field client_secret_file string?
---@field since string|number|nil as it was written; the run makes it Unix seconds
---@field line integer where it stands in the list
---@field provider autopilot.TokenProvider? set by the run

---@class autopilot.cli.TenantList
---@field read_line fun(): string|false|nil, string? as `autopilot.cli.fleet.lines` reads
---@field file string its name, for messages
---@field complain fun(message: string) takes each sentence about a line that is wrong
---@field note fun(message: string) takes each sentence about a line that is not used as it is, and need not be mended
---@field cloud string that of tenants which name none
---@field column string? the name of the column that has the tenant
---@field size number? bytes of the list in UTF-8, when they are known
---@field count integer tenants so far
---@field bad integer lines that were left out because they are wrong
---@field duplicates integer lines that were left out because their tenant was there before
---@field failure string? why the rest of the list could not be read
local TenantList = {}
TenantList.__index = TenantList

local byte_order_mark = "\239\187\191"
local most_shown = 8 -- ignored columns that are named

-- ---- The fields of a tenant --------------------------------------------------------------------------

local cloud_names = { "china", "global", "us_gov", "us_gov_dod" }
local field_names = { "tenant", "cloud", "client_id", "client_secret_file", "since" }

-- What is wrong with the value of each field, or nil.
local checks = { tenant = authority.tenant_complaint }

function checks.cloud(value)
  if not clouds[value] then
    local meant = nearest(value, cloud_names)
    local hint = meant and (": did you mean '%s'?"):format(meant) or ""
    return ("must be one of %s%s"):format(table.concat(cloud_names, ", "), hint)
  end
end

function checks.client_id(value)
  return not value:find "^[%w%-]+$" and "must be the id of an application" or nil
end

function checks.client_secret_file(value)
  return (value == "-" or value:find "%c") and "must be the name of a file" or nil
end

function checks.since(value)
  return not words.read_time(value, 0) and "must be " .. words.time_forms or nil
end

-- How exports name the tenant, the most exact first; compared without blanks, signs and case. Ids before
-- domains. Partner Center: Microsoft ID, Primary domain name. CIPP and Graph's contracts: customerId,
-- defaultDomainName. Lighthouse, Graph and `az`: tenantId; there `Tenant` may be the name of a company.
local tenant_names = [[
  tenantid tenant microsoftid customerid customertenantid directorytenantid directoryid tenantguid
  defaultdomainname defaultdomain primarydomainname primarydomain tenantdomain domainname domain
]]

-- A list with one of these columns was written for this command, not exported from elsewhere: an unknown column that
-- looks like one of ours is then a typing error.
local own_tenant_names = { tenant = true, tenantid = true }

local secrets = { secret = true, clientsecret = true, password = true, token = true }

local no_secrets = "field '%s': a list of tenants must hold no secret; name a file that does, as "
  .. "client_secret_file"
local did_you_mean = "unknown field '%s': did you mean '%s'?"

--- A name without blanks, signs and case.
local function squeezed(name)
  return (name:lower():gsub("[^%w\128-\255]", ""))
end

-- The fields besides the tenant, by their squeezed names, and these names.
local own_fields, own_names = {}, {}
for index = 2, #field_names do
  local name = squeezed(field_names[index])
  own_names[index - 1], own_fields[name] = name, field_names[index]
end

local function trimmed(value)
  return value:match "^%s*(.*%S)" or ""
end

local function printable(name)
  return (trimmed(name):sub(1, 40):gsub("%c", "?"))
end

--- The column that has the tenant, or nil.
local function find_tenant(index_of, column)
  if column then
    return index_of[squeezed(column)]
  end
  for name in tenant_names:gmatch "%a+" do
    if index_of[name] then
      return index_of[name]
    end
  end
end

--- Maps the names of a header, or of an object, to fields. Returns the fields by the index of the name, and the names
-- that are not used, fit to be shown; or nil and what is wrong; nil alone if none of the names has a tenant.
local function columns_of(names, column)
  local keys, index_of = {}, {}
  for index = #names, 1, -1 do
    keys[index] = squeezed(names[index])
    index_of[keys[index]] = index
  end
  local tenant = find_tenant(index_of, column)
  if not tenant then
    return nil
  end
  local is_own_list = not column and own_tenant_names[keys[tenant]]
  local fields, ignored = {}, {}
  for index, key in ipairs(keys) do
    local name, field = printable(names[index]), index == tenant and "tenant" or own_fields[key]
    local meant = not field and is_own_list and nearest(key, own_names)
    if index_of[key] ~= index and (field or index_of[key] == tenant) then
      return nil, ("the column '%s' is there twice"):format(name)
    elseif field then
      fields[index] = field
    elseif secrets[key] then
      return nil, no_secrets:format(name)
    elseif meant then
      return nil, did_you_mean:format(name, own_fields[meant])
    elseif key ~= "" then
      ignored[#ignored + 1] = name
    end
  end
  return fields, ignored
end

--- Whether the only text of a line is the name of a column, and not a tenant: a domain has a dot, and an id has
-- digits.
local function is_header(line)
  for word in ("tenant customer domain directory guid"):gmatch "%a+" do
    if squeezed(line):find(word, 1, true) then
      return not line:find "[%d%.]"
    end
  end
  return false
end

--- The tenant of a line; or nil and what is wrong with its values. An empty text says nothing.
---@param fields table<integer, string> as `columns_of` gives them
---@param values any[] by the same index
local function tenant_of(fields, values)
  local tenant = {}
  for index, field in pairs(fields) do
    local value = values[index]
    value = type(value) == "string" and trimmed(value) or value
    if value ~= "" and value ~= json.null then
      tenant[field] = value
    end
  end
  for _, name in ipairs(field_names) do
    local value, message = tenant[name], nil
    if value ~= nil then
      message = type(value) ~= "string" and "must be a text" or checks[name](value)
    elseif name == "tenant" then
      message = "is missing"
    end
    if message then
      return nil, ("%s %s"):format(name, message)
    end
  end
  tenant.tenant = authority.bare_tenant(tenant.tenant)
  return tenant
end

-- ---- The lines of the list ---------------------------------------------------------------------------

local function is_blank(text)
  return not text:find "%S"
end

--- Raises an error of the list as a whole.
local function refuse_list(self, sentence)
  refuse("the list %s: %s", self.file, sentence)
end

--- Reports once which columns of the list are ignored.
local function report_ignored(self, ignored)
  if #ignored > 0 and not self.has_told_ignored then
    self.has_told_ignored = true
    local more = #ignored > most_shown and (" and %d more"):format(#ignored - most_shown) or ""
    local names = table.concat(ignored, ", ", 1, math.min(#ignored, most_shown))
    self.note(("line %d: columns that are ignored: %s%s"):format(self.line, names, more))
  end
end

-- A function that reads a line returns a tenant; nil for a comment or an empty row; or nil and an error.

--- Reads a line of a plain list: a name; `#` begins a comment. Quotes around the name and separators behind it
-- are removed: they come with names that were copied from a table or a program.
local function read_plain(_, text)
  if not text:find "^%s*#" then
    local name = text:match "^%s*(.*[^%s,;])" or ""
    local bare = name:match '^"(.*)"$' or name:match "^'(.*)'$" or name
    return tenant_of({ "tenant" }, { bare })
  end
end

--- Reads a line of JSON Lines: an object.
local function read_json(self, text)
  local object = json.decode(text)
  if type(object) ~= "table" or object[1] ~= nil then
    return nil, "is no JSON object"
  end
  local names, values = {}, {}
  for name in pairs(object) do
    names[#names + 1] = name
  end
  table.sort(names)
  for index, name in ipairs(names) do
    values[index] = object[name]
  end
  local fields, ignored = columns_of(names, self.column)
  if not fields then
    return nil, ignored or "tenant is missing"
  end
  report_ignored(self, ignored)
  return tenant_of(fields, values)
end

--- The values of a CSV line. Of those beyond `least`, the empty ones at its end are left out.
local function values_of(text, separator, least)
  local values, message = lines.values(text, separator)
  while values and #values > least and is_blank(values[#values]) do
    values[#values] = nil
  end
  return values, message
end

--- A function that reads lines of CSV with so many columns.
local function csv_reader(fields, count, separator)
  return function(_, text)
    local values, message = values_of(text, separator, count)
    if not values or is_blank(table.concat(values)) then
      return nil, message -- a spreadsheet writes an empty row as separators alone
    elseif #values ~= count then
      return nil, ("its number of fields is %d, not %d as in the header"):format(#values, count)
    end
    return tenant_of(fields, values)
  end
end

--- The separator of a header. Spreadsheets write a semicolon where numbers have a decimal comma, and a tab
-- where they are asked for text.
local function separator_of(text)
  if text:find "%S%s*\t" and text:find "\t%s*%S" then
    return "\t"
  end
  return text:find(";", 1, true) and not text:find(",", 1, true) and ";" or ","
end

local json_array = "it is a JSON array: write each of its objects in a line of its own, as "
  .. "jq -c '.[]' does"
local no_such_column = "it has no column of the name that was given with --column"
local no_column = "a CSV file begins with the names of its columns, one of them 'tenant': where "
  .. "another column has the tenant, name it with --column"

--- Reads one of the first lines. Sets `self.read` when it shows the list's format; refuses a list that has
-- none.
local function read_head(self, text)
  local told = text:match '^"?[Ss][Ee][Pp]=([,;\t|])"?%s*$' -- Excel obeys this line, and hides it
  self.separator = told or self.separator
  if told or text:find "^%s*#" then
    return nil
  elseif text:find "^%s*{" and not text:find "^%s*{%x+%-[%x%-]+}" then
    self.read = read_json
    return read_json(self, text)
  end
  local separator = self.separator or separator_of(text)
  local names = values_of(text, separator, 1)
  local fields, ignored = columns_of(names or {}, self.column)
  if fields then
    report_ignored(self, ignored)
    self.read = csv_reader(fields, #names, separator)
    return nil
  end
  local mistake = text:find "^%s*%[" and json_array
    or ignored
    or self.column and no_such_column
    or (not names or #names > 1) and no_column
  if mistake then
    refuse_list(self, ("line %d: %s"):format(self.line, mistake))
  end
  self.read = read_plain
  if not is_header(names[1]) then
    return read_plain(self, text)
  end
  self.note(("line %d: it is no tenant, and was taken for a header"):format(self.line))
end

--- The tenant of the next line, as its reader gives it.
local function read_next(self, text)
  self.line, self.bytes = self.line + 1, self.bytes + #text + 1
  if self.line == 1 then
    text = text:gsub("^" .. byte_order_mark, "")
    local mistake = lines.not_text(text)
    if mistake then
      refuse_list(self, mistake)
    end
  end
  if is_blank(text) then
    return nil
  elseif #text > lines.longest then
    return nil, "is too long"
  elseif text:find("\0", 1, true) then
    return nil, "has a NUL in it"
  end
  return self:read(text)
end

--- Skips a line: reports why, and counts it.
function TenantList:refuse(line, message)
  self.bad = self.bad + 1
  self.complain(("line %d: %s"):format(line, message))
end

--- The next tenant that is not a duplicate; false when it has not arrived yet, nil at the end of the list.
-- Before the first tenant, it raises an error of the list as a whole.
---@return autopilot.cli.Tenant|false|nil
function TenantList:next()
  while true do
    local text, failure = self.read_line()
    if text == nil and self.count + self.bad == 0 then
      refuse_list(self, failure and "it cannot be read: " .. failure or "there is no tenant in it")
    elseif not text then
      self.failure, self.is_complete = failure, text == nil and not failure
      return text
    end
    local tenant, message = read_next(self, text)
    local key = tenant and (tenant.cloud or self.cloud) .. "/" .. tenant.tenant:lower()
    if message then
      self:refuse(self.line, message)
    elseif tenant and self.seen[key] then
      self.duplicates = self.duplicates + 1
      local sentence = "line %d: %s is in line %d already: left out"
      self.note(sentence:format(self.line, tenant.tenant, self.seen[key]))
    elseif tenant then
      self.count = self.count + 1
      self.seen[key], tenant.line = self.line, self.line
      return tenant
    end
  end
end

--- How many tenants there will be in all: exact when all were read, else an estimate by the length of what
-- was read; nil when the length of the list is not known.
function TenantList:expected()
  if self.is_complete then
    return self.count, true
  elseif self.size and self.count > 0 then
    local estimate = self.count * math.max(1, self.size / self.bytes)
    return math.floor(estimate + 0.5), false
  end
  return nil, false
end

--- A list that is read from its beginning on.
---@param given autopilot.cli.TenantList its first seven fields
---@return autopilot.cli.TenantList
return function(given)
  local own =
    { count = 0, bad = 0, duplicates = 0, line = 0, bytes = 0, seen = {}, read = read_head }
  return setmetatable(merged(given, own), TenantList)
end
