--- The options of a fleet: what each means, and how they are checked.

local client_options = require "autopilot.client.options"
local core = require "autopilot.core"
local merged = require "autopilot.base.merged"
local options = require "autopilot.base.options"
local policies = require "autopilot.retry.policy"

local fleet_options = {}

local name = "autopilot.fleet"

---@class autopilot.FleetOptions
---@field [string] autopilot.NoSuchOption
--- A list, or a function that returns the next tenant each time and nil at the end (`io.lines(name)`),
--- or a function that returns such a function or a list. Read one at a time, when a tenant can be begun. A function
--- that has no tenant for now returns false, and is asked again soon.
---@field tenants autopilot.fleet.Tenant[]|function
--- Options for the client of a tenant: a table for all tenants, or a function that is called with each.
---@field client autopilot.ClientOptions|fun(tenant: autopilot.fleet.Tenant): autopilot.ClientOptions
---@field concurrency integer? requests under way at a time; default 64
---@field host_concurrency integer? the same for each host; default `concurrency`
--- Default `sync`; a function gets the client, the tenant and the arguments, and returns a report.
---@field operation ("sync"|"ensure"|"status"|"wait"|function)?
---@field arguments (table|fun(tenant: autopilot.fleet.Tenant): table)? for the operation
---@field spread number? seconds over which the starts are spread, each tenant at a time of its own
---@field deadline number? seconds from `run`; tenants not begun by then are reported as `cancelled`
---@field retry_budget autopilot.RetryBudget|false|nil shared by all clients without a `retry` of their own
--- A file or `postgresql://…`; a table of `autopilot.fleet.StateOptions`; or a user's own object with `known`, `cooldown` and `note`, and perhaps
--- `posted` and `note_posting`, and `flush`.
---@field state string|table|nil
---@field on_event fun(event: autopilot.Event)? of the clients and the fleet; an error in it changes nothing
--- The HTTP layer, instead of libcurl; may yield a time of the clock to sleep.
---@field transport (function|autopilot.ScriptedTransport)?
---@field sleep fun(seconds: number)? called when no transfer is under way
---@field wait fun(set: any, seconds: number)? moves the transfers: `set:step(seconds)`
---@field clock (fun(): number)? monotonic seconds
---@field now (fun(): number)? Unix seconds
---@field random (fun(): number)? in [0, 1)

--- What the option `state` must be; nil when it is that.
local function state_complaint(value)
  local is_table = type(value) == "table"
  local path = is_table and value.path or value
  if is_table and value.note then
    local is_whole = options.is_callable(value.known) and options.is_callable(value.cooldown)
    return not is_whole and "must have the methods 'known', 'cooldown' and 'note'" or nil
  elseif type(path) ~= "string" or path == "" or path:find("\0", 1, true) then
    return "must be the name of a file, a table with it as 'path', or an object"
  end
end

local operations = { sync = true, ensure = true, status = true, wait = true }

local rules = {
  tenants = { type = { "table", "function" }, required = true },
  client = {
    type = { "table", "function" },
    required = true,
    such_as = "{ token = … }",
    instead_of = "token tenant cloud base_url http retry store cooldown",
  },
  concurrency = { type = "integer", default = 64, min = 1, max = 10000 },
  host_concurrency = { type = "integer", min = 1, max = 10000 },
  operation = {
    type = { "string", "function" },
    default = "sync",
    check = function(value)
      if type(value) == "string" and not operations[value] then
        return "must be 'sync', 'ensure', 'status', 'wait' or a function"
      end
    end,
  },
  arguments = { type = { "table", "function" } },
  spread = { type = "number", default = 0, min = 0 },
  deadline = { type = "number", above = 0 },
  retry_budget = {
    type = { "table", "boolean" },
    check = function(value)
      return value ~= false and policies.budget_complaint(value) or nil
    end,
  },
  state = { type = { "string", "table" }, check = state_complaint },
  on_event = { type = "function" },
  transport = { type = "function" },
  sleep = { type = "function", default = core.sleep },
  wait = {
    type = "function",
    default = function(set, seconds)
      set:step(seconds)
    end,
  },
  clock = { type = "function", default = core.clock },
  now = { type = "function", default = core.now },
  random = { type = "function", default = core.random },
}

local several = "%s: option 'client.token' is the token of one tenant, and there are several: give "
  .. "a token provider, or a function 'client' with a token for each"

--- A function of the tenant, of an option that may be the same for all tenants.
local function for_each_tenant(given)
  return options.is_callable(given) and given or function()
    return given
  end
end

--- Checks the options of a fleet. Raises what is wrong, also in a table of options for all clients. A ready token for
-- all is wrong unless `tenants` is a list of one: it is the token of one tenant.
---@param given autopilot.FleetOptions
---@param level integer as for `error`
---@return table checked `client` and `arguments` are functions; `cooldown` and `cooldown_margin` are those of all clients
function fleet_options.check(given, level)
  local checked = options.check(name, rules, given, level + 1)
  local client, tenants = checked.client, checked.tenants
  if not options.is_callable(client) then
    checked.cooldown, checked.cooldown_margin = client.cooldown, client.cooldown_margin
    local of_any = { tenant = client.tenant or "any" }
    client_options.check(merged({ transport = checked.transport }, client, of_any), level + 1)
  end
  local has_token = type(client) == "table" and type(rawget(client, "token")) == "string"
  if has_token and (options.is_callable(tenants) or #tenants > 1) then
    error(several:format(name), level + 1)
  end
  checked.client, checked.arguments = for_each_tenant(client), for_each_tenant(checked.arguments)
  checked.state = type(checked.state) == "string" and { path = checked.state } or checked.state
  return checked
end

return fleet_options
