--- The options of a fleet: what each means, and the rules that they obey.

local core = require "autopilot.core"

local settings = {}

---@class autopilot.FleetOptions
--- A list, or a function that returns the next tenant each time and nil at the end (`io.lines(name)`),
--- or a function that returns such a function or a list. Read as tenants are begun with. A function that
--- knows of none for now returns false, and is asked again soon.
---@field tenants autopilot.fleet.Tenant[]|function
--- Options for the client of a tenant: a table for all, or a function that is called with each.
---@field client autopilot.ClientOptions|fun(tenant: autopilot.fleet.Tenant): autopilot.ClientOptions
---@field concurrency integer? requests under way at a time; default 64
---@field host_concurrency integer? the same for each host; default `concurrency`
--- Default `sync`; a function gets the client, the tenant and the arguments, and returns a report.
---@field operation ("sync"|"ensure"|"status"|"wait"|function)?
---@field arguments table|fun(tenant: autopilot.fleet.Tenant): table? for the operation
---@field spread number? seconds over which the starts are spread, each tenant at a time of its own
---@field deadline number? seconds from `run`; who has not been begun with then is told so
---@field retry_budget autopilot.RetryBudget|false|nil shared by all who have no `retry` of their own
--- A file (see `autopilot.fleet.state`), or an object of one's own with `known`, `cooldown` and `note`.
---@field state string|table|nil
---@field on_event fun(event: table)? of the clients and the fleet; an error in it changes nothing
---@field transport function? the HTTP layer, instead of libcurl; may yield a moment of the clock
---@field sleep fun(seconds: number)? called when nothing is under way
---@field wait fun(set: any, seconds: number)? moves the transfers: `set:step(seconds)`
---@field clock (fun(): number)? monotonic seconds
---@field now (fun(): number)? Unix seconds
---@field random (fun(): number)? in [0, 1)

settings.rules = {
  tenants = { type = { "table", "function" }, required = true },
  client = { type = { "table", "function" }, required = true },
  concurrency = { type = "integer", default = 64, min = 1, max = 10000 },
  host_concurrency = { type = "integer", min = 1, max = 10000 },
  operation = {
    type = { "string", "function" },
    default = "sync",
    check = function(value)
      local is_known = value == "sync" or value == "ensure" or value == "status" or value == "wait"
      return type(value) == "string"
          and not is_known
          and "must be 'sync', 'ensure', 'status', 'wait' or a function"
        or nil
    end,
  },
  arguments = { type = { "table", "function" } },
  spread = { type = "number", default = 0, min = 0 },
  deadline = { type = "number", above = 0 },
  retry_budget = { type = { "table", "boolean" } },
  state = {
    type = { "string", "table" },
    check = function(value)
      return (value == "" or type(value) == "string" and value:find("\0", 1, true))
          and "must be the name of a file, or an object"
        or nil
    end,
  },
  on_event = { type = "function" },
  transport = { type = "function" },
  sleep = { type = "function", default = core.sleep },
  wait = { type = "function" },
  clock = { type = "function", default = core.clock },
  now = { type = "function", default = core.now },
  random = { type = "function", default = core.random },
}

return settings
