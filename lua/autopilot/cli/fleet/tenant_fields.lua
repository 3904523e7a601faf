--- The fields of a tenant in a list: its id, and options that differ from the command's; and the values of a CSV line.
--
-- Names of fields are the same in a CSV header and in a JSON object. No message quotes a value, because that
-- could be a secret in the wrong place.

local authority = require "autopilot.token.authority"
local clouds = require "autopilot.base.clouds"
local json = require "autopilot.base.json"
local nearest = require("autopilot.base.option_mistake").nearest
local text = require "autopilot.cli.text"

local tenant_fields = {}

---@class autopilot.cli.Tenant
---@field tenant string id or domain
---@field cloud string?
---@field client_id string?
---@field client_secret_file string?
---@field since string|number|nil as it was written; the plan makes it Unix seconds
---@field line integer where it stands in the list
---@field provider autopilot.TokenProvider? set by the plan

local longest = 4096 -- bytes; longer than any file name
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
  local is_line = #value <= longest and not value:find "%c"
  return value == "-" and "must be the name of a file"
    or not is_line and "must be one line of text"
    or nil
end

function checks.since(value)
  return not text.read_time(value, 0) and "must be " .. text.time_forms or nil
end

-- How exports name the tenant, the most exact first; compared without blanks, signs and case. Ids before
-- domains. Partner Center: Microsoft ID, Primary domain name. CIPP and Graph's contracts: customerId,
-- defaultDomainName. Lighthouse, Graph and `az`: tenantId; there `Tenant` may be the name of a company.
local tenant_names = [[
  tenantid tenant microsoftid customerid customertenantid directorytenantid directoryid tenantguid
  defaultdomainname defaultdomain primarydomainname primarydomain tenantdomain domainname domain
]]

-- Names of the tenant's column that show that a list was written for this command: then an unknown field that
-- resembles one of ours is a mistake.
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
---@param index_of table<string, integer> the columns by their squeezed names
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

--- Maps the names of a header, or of an object, to fields.
---@param names string[] as they are written in the list
---@param column string? the name that has the tenant, where `--column` tells it
---@return table<integer, string>? fields by the index of the name
---@return string[]|string|nil ignored the names that are not used, fit to be shown; without fields what is wrong, nil: none of the names has a tenant
function tenant_fields.columns(names, column)
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

--- The values of a line of CSV (RFC 4180); or nil and what is wrong with it, without any of its text. A line break
-- inside quotes, which the RFC allows, is refused, so that a missing quote costs one line and not all that follow.
function tenant_fields.split(line, separator)
  local fields, from = {}, 1
  repeat
    local value, last
    if line:byte(from) == 34 then
      local masked = line:sub(from + 1):gsub('""', "  ") -- two quotes are one that is text
      local quote = masked:find('"', 1, true)
      if not quote then
        return nil, "a quote is not closed in its line"
      end
      last = from + quote
      value = line:sub(from + 1, last - 1):gsub('""', '"')
    else
      last = (line:find(separator, from, true) or #line + 1) - 1
      value = line:sub(from, last)
      if value:find('"', 1, true) then
        return nil, "there is a quote in a field that does not begin with one"
      end
    end
    fields[#fields + 1] = value
    local after = line:sub(last + 1, last + 1)
    if after ~= "" and after ~= separator then
      return nil, "there is text behind a closing quote"
    end
    from = last + 2
  until after == ""
  return fields
end

--- Whether the only text of a line is the name of a column, and not a tenant: a domain has a dot, and an id has
-- digits.
function tenant_fields.is_header(line)
  for word in ("tenant customer domain directory guid"):gmatch "%a+" do
    if squeezed(line):find(word, 1, true) then
      return not line:find "[%d%.]"
    end
  end
  return false
end

--- The tenant of a line; or nil and what is wrong with its values.
---@param fields table<integer, string> as `columns` gives them
---@param values any[] by the same index; an empty text says nothing
function tenant_fields.read(fields, values)
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

return tenant_fields
