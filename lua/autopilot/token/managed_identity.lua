--- Signs in as the machine itself: the managed identity that Azure has given to it.
--
-- The platform is told by its environment, in the order that Microsoft's own libraries keep. The token
-- is always one of the machine's own tenant, whatever the client's `tenant` is: for a fleet of several
-- tenants there is none. Few platforms can be asked for another token than the one that they keep.

local authority = require "autopilot.token.authority"
local clouds = require "autopilot.base.clouds"
local endpoint = require "autopilot.token.managed_identity.endpoint"
local options = require "autopilot.base.options"

---@class autopilot.token.ManagedIdentityOptions
---@field client_id string? of a user-assigned identity; at most one of the three
---@field resource_id string?
---@field object_id string?
---@field scope string? default: that of the client
---@field probe number? seconds in which a metadata service must answer; default: 1 in a chain, else it is not tried before
---@field getenv (fun(name: string): string?)? default `os.getenv`

---@class autopilot.token.IdentityPlace what a source is asked with
---@field ask autopilot.TokenAsk
---@field resource string
---@field identity { kind: string, value: string }?
---@field probe number?
---@field values table<string, string> the variables by which the source was detected, checked
---@field variable fun(name: string): string?
---@field memory table kept between requests

local name = "autopilot.token.managed_identity"

local of_one_tenant = "a managed identity signs in to the machine's own tenant only, and there "
  .. "are several"

local kinds = { "client_id", "resource_id", "object_id" }

local function check_line(value)
  return (value == "" or value:find "%c") and "must be one line of text" or nil
end

local rules = {
  scope = { type = "string", check = check_line },
  probe = { type = "number", above = 0, max = 60 },
  getenv = { type = "function", default = os.getenv },
}
for _, kind in ipairs(kinds) do
  rules[kind] = { type = "string", check = check_line }
end

-- The first whose variables are all set is the one.
local sources =
  { "service_fabric", "app_service", "machine_learning", "arc", "cloud_shell", "imds" }

local function is_address(variable)
  return variable:find "_ENDPOINT$" ~= nil
end

--- The values of all these variables, or nil when one is missing.
local function values_of(variables, variable)
  local values = {}
  for _, wanted in ipairs(variables or {}) do
    values[wanted] = variable(wanted)
    if not values[wanted] then
      return nil
    end
  end
  return values
end

local function detect(variable)
  for _, source in ipairs(sources) do
    local module = require("autopilot.token.managed_identity." .. source)
    local values = values_of(module.variables, variable)
    if values then
      return module, values
    end
  end
end

--- What is wrong with one of the variables, or nil. None is quoted.
local function complaint_about(values, is_local)
  for variable, value in pairs(values) do
    if is_address(variable) then
      local _, complaint = endpoint.parse(value, is_local)
      if complaint then
        return variable .. " " .. complaint
      end
    elseif value:find "[^\32-\126]" then
      return variable .. " must be one line of ASCII text"
    end
  end
end

--- The one identity of the options, nil for the machine's own.
local function identity_of(checked, level)
  local identity
  for _, kind in ipairs(kinds) do
    if checked[kind] then
      if identity then
        error(name .. ": takes one of 'client_id', 'resource_id' and 'object_id'", level + 1)
      end
      identity = { kind = kind, value = checked[kind] }
    end
  end
  return identity
end

--- Makes a provider. Nothing is read or sent yet.
---@param given autopilot.token.ManagedIdentityOptions?
---@param level integer? where a mistake raises, as for `error`; default 2, the caller
---@return autopilot.TokenProvider
local function new(given, level)
  level = level or 2
  local checked = options.check(name, rules, given, level)
  local identity, memory = identity_of(checked, level), {}
  local function variable(wanted)
    local value = checked.getenv(wanted)
    return value ~= "" and value or nil
  end
  return function(ask)
    if ask.has_several then
      return nil, of_one_tenant, { code = "TenantMismatch", is_transient = false }
    end
    local cloud = clouds[ask.cloud or "global"]
    local scope = checked.scope or ask.scope or (cloud and cloud.graph .. "/.default")
    if not scope then
      return nil, "the cloud is not one that is known", { is_transient = false }
    end
    local foreign = authority.scope_complaint(scope, ask.cloud or "global")
    if foreign then
      return nil, "the scope " .. foreign, { is_transient = false }
    end
    local source, values = detect(variable)
    local complaint = complaint_about(values, source.is_local)
    if
      not complaint
      and identity
      and source.identities
      and not source.identities[identity.kind]
    then
      complaint = ("%s has no identity that is chosen by %s"):format(source.name, identity.kind)
    end
    if complaint then
      return nil, complaint, { is_transient = false }
    end
    local token, expires_in, extra = source.request {
      ask = ask,
      resource = scope:gsub("/%.default$", ""),
      identity = identity,
      probe = checked.probe or ask.probe,
      values = values,
      variable = variable,
      memory = memory,
    }
    return token, expires_in, extra
  end
end

return new
