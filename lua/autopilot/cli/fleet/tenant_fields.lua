--- What a list of tenants may say of each tenant: its id, and what differs from the command's options.
--
-- Names of fields are the same in a CSV header and in a JSON object. No message quotes a value, because that
-- could be a secret in the wrong place.

local clouds = require "autopilot.base.clouds"
local nearest = require("autopilot.base.options").nearest
local tenant_complaint = require("autopilot.token.authority").tenant_complaint
local text = require "autopilot.cli.text"

local tenant_fields = {}

---@class autopilot.cli.Tenant
---@field tenant string id or domain
---@field cloud string?
---@field client_id string?
---@field client_secret_file string?
---@field since string? as it was written
---@field line integer where it stands in the list
---@field provider autopilot.TokenProvider? set by the plan, as is the next
---@field since_seconds number? Unix seconds

-- Bytes; longer than any file name.
local longest = 4096

--- The keys of a table, sorted, and the one that was probably meant by another name.
local function known_and_meant(map, wrong)
  local names = {}
  for name in pairs(map) do
    names[#names + 1] = name
  end
  table.sort(names)
  return table.concat(names, ", "), nearest(wrong, names)
end

--- What is wrong with the value of each field, or nil; in the order in which they are checked.
local checks = {
  { "tenant", tenant_complaint },
  {
    "cloud",
    function(value)
      if clouds[value] then
        return nil
      end
      local known, meant = known_and_meant(clouds, value)
      local hint = meant and (": did you mean '%s'?"):format(meant) or ""
      return "must be one of " .. known .. hint
    end,
  },
  {
    "client_id",
    function(value)
      return not value:find "^[%w%-]+$" and "must be the id of an application" or nil
    end,
  },
  {
    "client_secret_file",
    function(value)
      if value == "-" then
        return "must be the name of a file"
      end
      return (value:find "%c" or #value > longest) and "must be one line of text" or nil
    end,
  },
  {
    "since",
    function(value)
      return not text.read_time(value, 0) and "must be " .. text.time_forms or nil
    end,
  },
}

-- How exports name the tenant, the most exact first; compared without blanks, signs and case. Ids before
-- domains. Partner Center: Microsoft ID, Primary domain name. CIPP and Graph's contracts: customerId,
-- defaultDomainName. Lighthouse, Graph and `az`: tenantId; there `Tenant` may be the name of a company.
local tenant_names = [[
  tenantid tenant microsoftid customerid customertenantid directorytenantid directoryid tenantguid
  defaultdomainname defaultdomain primarydomainname primarydomain tenantdomain domainname domain
]]

local rank_of, last_rank = {}, 0
for name in tenant_names:gmatch "%a+" do
  last_rank = last_rank + 1
  rank_of[name] = last_rank
end

-- The names of the tenant by which a list is known to be written for this command: there an unknown field that
-- is nearly one of ours is a mistake.
local own_tenant_names = { tenant = true, tenantid = true }

local own_fields = {
  cloud = "cloud",
  clientid = "client_id",
  clientsecretfile = "client_secret_file",
  since = "since",
}

local secrets = { secret = true, clientsecret = true, password = true, token = true }

local no_secrets = "field '%s': a list of tenants must hold no secret; name a file that does, as "
  .. "client_secret_file"

--- A name without blanks, signs and case.
local function squeezed(name)
  return (name:lower():gsub("[^%w\128-\255]", ""))
end

local function shown(name)
  return (name:match("^%s*(.-)%s*$"):sub(1, 40):gsub("%c", "?"))
end

--- The index of the name that has the tenant, or nil.
local function find_tenant(names, column)
  local found, best = nil, math.huge
  for index, name in ipairs(names) do
    local key = squeezed(name)
    local rank = column and (key == squeezed(column) and 1) or not column and rank_of[key]
    if rank and rank < best then
      found, best = index, rank
    end
  end
  return found
end

--- What is wrong with a name that is not a field of ours, or nil.
local function foreign_complaint(name, is_own_list)
  local key = squeezed(name)
  if secrets[key] then
    return no_secrets:format(shown(name))
  end
  local _, meant = known_and_meant(own_fields, key)
  if is_own_list and meant then
    return ("unknown field '%s': did you mean '%s'?"):format(shown(name), own_fields[meant])
  end
end

---@class autopilot.cli.TenantColumns
---@field fields table<integer, string> the field that each name stands for, by the name's index
---@field ignored string[] the names that are not used, fit to be shown

--- What the names of a header, or of an object, stand for.
---@param names string[] as they are written in the list
---@param column string? the name that has the tenant, where `--column` tells it
---@return autopilot.cli.TenantColumns? columns nil without a message: none of the names has a tenant
---@return string? message
function tenant_fields.columns(names, column)
  local tenant = find_tenant(names, column)
  if not tenant then
    return nil
  end
  local fields, ignored, seen = { [tenant] = "tenant" }, {}, {}
  local tenant_key = squeezed(names[tenant])
  for index, name in ipairs(names) do
    local key = squeezed(name)
    local field = index ~= tenant and own_fields[key]
    local is_twice = index ~= tenant and key == tenant_key or field and seen[field]
    local message = is_twice and ("the column '%s' is there twice"):format(shown(name))
    if field then
      fields[index], seen[field] = field, true
    elseif index ~= tenant and key ~= "" then
      message = message or foreign_complaint(name, not column and own_tenant_names[tenant_key])
      ignored[#ignored + 1] = shown(name)
    end
    if message then
      return nil, message
    end
  end
  return { fields = fields, ignored = ignored }
end

-- Words that the names of such columns are made of.
local header_words = { "tenant", "customer", "domain", "directory", "guid" }

--- Whether the only text of a line is the name of a column, and no tenant: a domain has a dot, and an id has
-- digits.
---@param line string
---@return boolean
function tenant_fields.is_header(line)
  local key = squeezed(line)
  for _, word in ipairs(header_words) do
    if key:find(word, 1, true) and not line:find "[%d%.]" then
      return true
    end
  end
  return false
end

--- What is wrong with the fields of a tenant, or nil.
---@param fields table<string, any> by name; empty texts are removed, and the braces of a GUID
---@return string? message
function tenant_fields.complaint(fields)
  if type(fields.tenant) == "string" then
    fields.tenant = fields.tenant:match "^{(%x+%-[%x%-]+)}$" or fields.tenant -- Windows writes braces
  end
  for _, row in ipairs(checks) do
    local name, check = row[1], row[2]
    if fields[name] == "" then
      fields[name] = nil
    end
    local value, message = fields[name]
    if value == nil then
      message = name == "tenant" and "is missing" or nil
    elseif type(value) ~= "string" then
      message = "must be a text"
    else
      message = check(value)
    end
    if message then
      return ("%s %s"):format(name, message)
    end
  end
end

return tenant_fields
