--- The emulator's options: their rules and defaults.

local faults = require "autopilot.emulator.faults"
local graph = require "autopilot.emulator.graph"
local options = require "autopilot.base.options"

---@class autopilot.EmulatorOptions
---@field [string] autopilot.NoSuchOption
---@field start number? Unix seconds that its own clock shows at first; default 1 January 2026
---@field now (fun(): number)? a clock to read instead, Unix seconds; `advance` still adds to it
---@field sleep (fun(seconds: number))? how a late answer lets time pass; default: the clock moves on
---@field cooldown number? seconds between two syncs of a tenant; default 600
---@field cooldown_from string? where the cooldown begins: `trigger` (default) or `completion`
---@field extend_cooldown boolean? a refusal within the cooldown begins it again; default false
---@field duration (number|fun(tenant: string, count: integer): number)? seconds that a sync runs; default 0.5
---@field retry_after string? where a cooldown's 429 has the seconds left: `absent` (default, as Intune does), `header`, `body`
---@field zone string? of the times in the record: `Z` (default) or an offset such as `-08:00`
---@field wrapped boolean? the record stands inside `{"value": …}`; default false
---@field tenants table<string, { domain: string?, licensed: boolean? }>? the tenants there are, by id; default: every one that is asked for, licensed
---@field clients table<string, autopilot.emulator.Application>? applications by client id; they may sign in to every tenant
---@field tokens table<string, autopilot.emulator.Token>? further tokens that are accepted
---@field token_lifetime integer? seconds; default 3599
---@field device_code { lifetime: number?, interval: number? }? seconds that a code can be used, and between two polls; default 900 and 5
---@field identity autopilot.emulator.Identity? the managed identity of the machine that asks; default: it has none
---@field build_server autopilot.emulator.BuildServer? the emulated build server, at which a job gets assertions; default: no such endpoints
---@field audience string? the only audience accepted; default: Graph's of every cloud
---@field faults (autopilot.emulator.Fault[]|fun(operation: string, request: table): autopilot.emulator.Fault?)? see `autopilot.emulator.faults`
---@field log_limit integer? at least this many of the latest events are kept; 0 keeps none; default 10000

local text, list, flag = { type = "string" }, { type = "table" }, { type = "boolean" }
local number = { type = "number" }
local required_text = { type = "string", required = true }
local secret = { type = "string", secret = true }

-- The rules of options that are a table, and of the tables in those that are a map.
local rules_of_tables = {
  identity = {
    tenant = required_text,
    client_id = required_text,
    object_id = text,
    resource_id = text,
    header = secret,
    roles = list,
  },
  build_server = {
    key = { type = "string", required = true, secret = true },
    issuer = required_text,
    subject = required_text,
    service_connection = text,
  },
  tenants = { domain = text, licensed = flag },
  clients = {
    secret = secret,
    secret_expires = number,
    certificates = list,
    federated = list,
    public = flag,
    roles = list,
    verify = { type = "function" },
  },
  tokens = {
    tenant = required_text,
    client_id = text,
    roles = list,
    expires = number,
    audience = text,
  },
}

local function map_complaint(map)
  for key, entry in pairs(map) do
    if type(key) ~= "string" or type(entry) ~= "table" then
      return "must be a map from texts to tables"
    end
  end
end

local function zone_complaint(zone)
  return not graph.zone_offset(zone) and "must be 'Z' or an offset such as '-08:00'" or nil
end

---@type table<string, autopilot.OptionRule>
local rules = {
  start = { type = "number", default = 1767225600 },
  now = { type = "function" },
  sleep = { type = "function" },
  cooldown = { type = "number", default = 600, min = 0 },
  cooldown_from = { type = "string", default = "trigger", one_of = { "trigger", "completion" } },
  extend_cooldown = { type = "boolean", default = false },
  duration = { type = { "number", "function" }, default = 0.5, min = 0 },
  retry_after = { type = "string", default = "absent", one_of = { "absent", "header", "body" } },
  zone = { type = "string", default = "Z", check = zone_complaint },
  wrapped = { type = "boolean", default = false },
  tenants = { type = "table", check = map_complaint },
  clients = { type = "table", default = {}, check = map_complaint },
  tokens = { type = "table", default = {}, check = map_complaint },
  token_lifetime = { type = "integer", default = 3599, min = 1 },
  device_code = {
    type = "table",
    fields = {
      lifetime = { type = "number", default = 900, above = 0 },
      interval = { type = "number", default = 5, min = 0 },
    },
  },
  identity = { type = "table" },
  build_server = { type = "table" },
  audience = { type = "string" },
  faults = { type = { "table", "function" }, default = {} },
  log_limit = { type = "integer", default = 10000, min = 0 },
}

local settings = {}

--- Checks the options of `emulator.new`. A mistake raises at the line that called `emulator.new`.
function settings.check(given)
  local name, level = "autopilot.emulator.new", 3
  local checked = options.check(name, rules, given, level)
  for option, own_rules in pairs(rules_of_tables) do
    local is_map = rules[option].check == map_complaint
    for _, entry in pairs(is_map and checked[option] or { checked[option] }) do
      options.check(name .. ": " .. option, own_rules, entry, level)
    end
  end
  for _, fault in ipairs(type(checked.faults) == "table" and checked.faults or {}) do
    faults.check(name .. ": faults", fault, level)
  end
  return checked
end

--- Rules of `Emulator:trigger`.
settings.trigger_rules = {
  by = { type = "string", default = "somebody else" },
  automatic = { type = "boolean", default = false },
  duration = { type = "number", min = 0 },
  failed = { type = "boolean", default = false },
}

--- Rules of `Emulator:issue_token`.
settings.token_rules = {
  tenant = required_text,
  client_id = text,
  roles = list,
  audience = text,
  lifetime = { type = "number", above = 0 },
}

--- Rules of `Emulator:issue_refresh_token`.
settings.refresh_token_rules = {
  client_id = required_text,
  user = { type = "string", default = "somebody@example" },
}

return settings
