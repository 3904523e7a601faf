--- What a list of tenants may say of each: its id, and what is particular to it.
--
-- Names of fields are the same in a CSV header and in a JSON object. No message quotes a value that
-- could be a secret in the wrong place.

local authority = require "autopilot.token.authority"
local clouds = require "autopilot.base.clouds"
local moment = require "autopilot.cli.moment"
local options = require "autopilot.base.options"

local tenant_fields = {}

---@class autopilot.cli.Tenant
---@field tenant string id or domain
---@field cloud string?
---@field client_id string?
---@field client_secret_file string?
---@field since string? as it was written
---@field line integer where it stands in the list

-- Longer than any name of a file.
local longest = 4096

local function check_text(text)
  return (text:find "%c" or #text > longest) and "must be one line of text" or nil
end

--- The keys of a table, and the one that was probably meant by another name.
local function known_and_meant(map, wrong)
  local names = {}
  for name in pairs(map) do
    names[#names + 1] = name
  end
  table.sort(names)
  return table.concat(names, ", "), options.nearest(wrong, names)
end

local checks = {
  tenant = function(text)
    return authority.tenant_complaint(text)
  end,
  cloud = function(text)
    if clouds[text] then
      return nil
    end
    local known, meant = known_and_meant(clouds, text)
    local hint = meant and (": did you mean '%s'?"):format(meant) or ""
    return "must be one of " .. known .. hint
  end,
  client_id = function(text)
    return not text:find "^[%w%-]+$" and "must be the id of an application" or nil
  end,
  client_secret_file = function(text)
    return text == "-" and "must be the name of a file" or check_text(text)
  end,
  since = function(text)
    local is_moment = check_text(text) == nil and moment.parse(text, 0)
    return not is_moment and "must be Unix seconds, a time like 2026-07-23T11:23:15Z, now or -10m"
      or nil
  end,
}

-- How exports name the tenant, the most exact first; compared without blanks, signs and case. Ids before
-- domains. Partner Center: Microsoft ID, Primary domain name. CIPP and Graph's contracts: customerId,
-- defaultDomainName. Lighthouse, Graph and `az`: tenantId; there `Tenant` may be the name of a company.
local tenant_names = {
  "tenantid",
  "tenant",
  "microsoftid",
  "customerid",
  "customertenantid",
  "directorytenantid",
  "directoryid",
  "tenantguid",
  "defaultdomainname",
  "defaultdomain",
  "primarydomainname",
  "primarydomain",
  "tenantdomain",
  "domainname",
  "domain",
}

local rank_of = {}
for rank, name in ipairs(tenant_names) do
  rank_of[name] = rank
end

-- Our own names, by which a list is known to be written for this command.
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

local function squeezed(name)
  return (name:lower():gsub("[^%w\128-\255]", ""))
end

local function shown(name)
  return (name:match("^%s*(.-)%s*$"):sub(1, 40):gsub("%c", "?"))
end

--- Which of the names has the tenant, or nil.
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
---@field fields table<integer, string> the field that each name stands for
---@field ignored string[] the names that stand for nothing here, fit to be shown

--- What the names of a header, or of an object, stand for.
---@param names string[] as they are written in the list
---@param column string? the name that has the tenant, where it is told
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

-- What the names of such columns are made of.
local header_words = { "tenant", "customer", "domain", "directory", "guid" }

--- Whether a text that is alone in its line is the name of a column, and no tenant: a domain has a dot, and
-- an id has digits.
---@param text string
---@return boolean
function tenant_fields.is_header(text)
  local key = squeezed(text)
  for _, word in ipairs(header_words) do
    if key:find(word, 1, true) and not text:find "[%d%.]" then
      return true
    end
  end
  return false
end

--- What is wrong with the fields of a tenant, or nil.
---@param fields table<string, any> by the names of `tenant_fields.name`; empty texts are taken out
---@return string? message
function tenant_fields.complaint(fields)
  for _, name in ipairs { "tenant", "cloud", "client_id", "client_secret_file", "since" } do
    local value = fields[name]
    if value == "" then
      value = nil
    elseif name == "tenant" and type(value) == "string" then
      value = value:match "^{(%x+%-[%x%-]+)}$" or value -- how Windows writes a GUID
    end
    fields[name] = value
    local message
    if value == nil then
      message = name == "tenant" and "is missing" or nil
    elseif type(value) ~= "string" then
      message = "must be a text"
    else
      message = checks[name](value)
    end
    if message then
      return ("%s %s"):format(name, message)
    end
  end
end

return tenant_fields
