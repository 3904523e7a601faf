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

-- Other names that lists out of other programs have for a field.
local aliases = { tenant_id = "tenant", tenantid = "tenant", clientid = "client_id" }

local secrets = { secret = true, client_secret = true, password = true, token = true }
aliases.clientsecret = "client_secret"

local no_secrets = "field '%s': a list of tenants must hold no secret; name a file that does, as "
  .. "client_secret_file"

--- The field of that name, or nil and what is wrong with the name.
---@param given string as it is written in the list
---@return string? name
---@return string? message
function tenant_fields.name(given)
  local name = given:match("^%s*(.-)%s*$"):lower():gsub("[ %-]", "_")
  name = aliases[name] or name
  if checks[name] then
    return name
  end
  local shown = name:sub(1, 40):gsub("%c", "?")
  if secrets[name] then
    return nil, no_secrets:format(shown)
  end
  local known, meant = known_and_meant(checks, name)
  local hint = meant and (": did you mean '%s'?"):format(meant) or ": there are " .. known
  return nil, ("unknown field '%s'%s"):format(shown, hint)
end

--- What is wrong with the fields of a tenant, or nil.
---@param fields table<string, any> by the names of `tenant_fields.name`; empty texts are taken out
---@return string? message
function tenant_fields.complaint(fields)
  for _, name in ipairs { "tenant", "cloud", "client_id", "client_secret_file", "since" } do
    local value = fields[name]
    if value == "" then
      value = nil
      fields[name] = nil
    end
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
