--- What `autopilot-sync fleet` is to do: the list of tenants, and what the options make of each of them.
--
-- `prepare` finds what is wrong with the command as a whole, before anything is sent.

local FleetSignIn = require "autopilot.cli.fleet.sign_in"
local lines = require "autopilot.cli.fleet.lines"
local client_of = require "autopilot.cli.client"
local tenant_list = require "autopilot.cli.fleet.tenant_list"
local text = require "autopilot.cli.text"

-- Seconds between two looks at a pipe that has not given the first tenant yet.
local between_looks = 0.05

---@class autopilot.cli.FleetPlan
---@field list autopilot.cli.TenantList
---@field state autopilot.fleet.State?
---@field package options table<string, any> of the command
---@field package context autopilot.cli.Context
---@field package client autopilot.ClientOptions what the clients of all tenants have in common
---@field package sign_in autopilot.cli.FleetSignIn
---@field package started_at number Unix seconds; of a run that is taken up again, when it first began
---@field package is_prepared boolean? the fleet may begin
---@field package late string? why a line was not waited for any longer
---@field package since number? of the option, Unix seconds
---@field package first autopilot.cli.Tenant? the first of the list, which `prepare` has read
local FleetPlan = {}
FleetPlan.__index = FleetPlan

--- A reader of lines that waits for them while the command is prepared, until its deadline. Later the fleet
-- has other things to do, and gets false for a line that is not there yet.
local function waiting_reader(self, read_line)
  local context, deadline = self.context, self.options.deadline
  return function()
    local line, failure = read_line()
    while line == false and not self.is_prepared do
      if deadline and context.clock() - self.prepared_from >= deadline then
        self.late = "nothing came before the deadline"
        return nil, self.late
      end
      context.sleep(between_looks)
      line, failure = read_line()
    end
    return line, failure
  end
end

local function open_list(self)
  local options, context = self.options, self.context
  local read_line, size, close = lines.open(options.file, context.stdin)
  if not read_line then
    return nil, "the list cannot be read: " .. size
  end
  context.at_end[#context.at_end + 1] = close -- nil for standard input
  local list, mistake = tenant_list.open {
    read_line = waiting_reader(self, read_line),
    size = size,
    cloud = options.cloud or "global",
    column = options.column,
    complain = function(sentence)
      context.output:complain(sentence)
    end,
  }
  return list, mistake and ("the list %s: %s"):format(options.file, mistake)
end

--- What tells this run from others in the same state file.
local function subject_of(options)
  local words = { options.operation or "sync", options.file }
  for _, name in ipairs { "since", "max_age", "cloud" } do
    words[#words + 1] = options[name] and ("%s=%s"):format(name, tostring(options[name]))
  end
  return table.concat(words, "\n")
end

--- The state file, where one is wanted; or nil and what is wrong with it.
local function open_state(self)
  local options, context = self.options, self.context
  if not options.state then
    return nil
  end
  local state, mistake = require("autopilot.fleet.state").open {
    path = options.state,
    subject = subject_of(options),
    host = self.client.base_url,
    resume_within = options.resume_within,
    now = context.now,
  }
  if state then
    table.insert(context.at_end, function()
      state:close()
    end)
  end
  return state, mistake
end

--- The client's options with those of one tenant.
local function with(self, own)
  local given = {}
  for name, value in pairs(self.client) do
    given[name] = value
  end
  for name, value in pairs(own) do
    given[name] = value
  end
  return given
end

--- What is wrong with the client's options, or nil: a client is made for nothing else.
local function client_mistake(self, origins)
  local client, mistake = client_of.make(with(self, { token = "none" }), origins)
  if client then
    client:close()
  end
  return mistake
end

--- The time since when a sync counts, of a tenant's line or of the option; or nil and what is wrong with it. A
-- time ago counts from when the run began, also where it is taken up again.
local function since_of(self, typed)
  if not typed then
    return self.since
  end
  local since = text.read_time(typed, self.started_at)
  local complaint = text.since_complaint(since, self.context.now())
  if complaint then
    return nil, "since " .. complaint
  end
  return since
end

--- Gives the tenant its provider and its `since`. Where the line is wrong, it is refused, and nil returned.
local function admit(self, tenant)
  local since, mistake = since_of(self, tenant.since)
  local provider, message = self.sign_in:provider(tenant)
  if mistake then
    return self.list:refuse(tenant.line, mistake)
  end
  -- A tenant that cannot be signed in to is reported like any other whose provider fails.
  tenant.provider = provider
    or function()
      return nil, ("line %d: %s"):format(tenant.line, message)
    end
  tenant.since_seconds = since
  return tenant
end

--- The next tenant; false when it is not there yet, nil at the end of the list.
local function next_tenant(self)
  local tenant = self.first
  self.first = nil
  while not tenant do
    local read = self.list:next()
    if not read then
      return read
    end
    tenant = admit(self, read)
  end
  return tenant
end

--- Reads the first tenant. Where neither its line nor the command says how to sign in, the command is wrong,
-- and not the line.
---@return string? mistake
local function read_first(self)
  local first = self.list:next()
  if self.late then
    return ("the list %s: %s"):format(self.options.file, self.late)
  elseif
    first
    and not first.client_id
    and not first.client_secret_file
    and self.sign_in.mistake
  then
    return self.sign_in.mistake
  end
  self.first = first and admit(self, first)
end

--- The arguments of the operation, for a tenant.
local function arguments_of(self, tenant)
  local operation, max_age = self.options.operation, self.options.max_age
  local since = tenant.since_seconds
  if operation == "ensure" and not since and not max_age then
    since = math.min(self.started_at, self.context.now()) -- the clock may have been set back
  end
  if operation == "ensure" then
    return { since = since, max_age = not since and max_age or nil }
  end
  return operation == "wait" and { since = since } or nil
end

--- What the fleet is made with; the run adds how to wait.
---@return autopilot.FleetOptions
function FleetPlan:fleet_options()
  local options, context = self.options, self.context
  return {
    tenants = function()
      return next_tenant(self)
    end,
    client = function(tenant)
      return with(self, { tenant = tenant.tenant, token = tenant.provider, cloud = tenant.cloud })
    end,
    arguments = function(tenant)
      return arguments_of(self, tenant)
    end,
    operation = options.operation,
    concurrency = options.concurrency,
    spread = options.spread,
    deadline = options.deadline,
    state = self.state,
    clock = context.clock,
    now = context.now,
    random = context.random,
  }
end

--- Looks at everything that can be wrong with the command. Nothing is sent.
---@param options table<string, any>
---@param context autopilot.cli.Context
---@return autopilot.cli.FleetPlan?
---@return string? mistake one sentence
function FleetPlan.prepare(options, context)
  local self = setmetatable({
    options = options,
    context = context,
    prepared_from = context.clock(),
  }, FleetPlan)
  context:report_termination()
  local origins
  self.client, origins = client_of.describe(options, context)
  local mistake = client_mistake(self, origins)
  if mistake then
    return nil, mistake
  end
  for _, name in ipairs { "sleep", "clock", "now", "random" } do
    self.client[name] = nil -- the fleet gives its own to every client
  end
  self.sign_in = FleetSignIn.new(options, context)
  self.list, mistake = open_list(self)
  if self.list then
    self.state, mistake = open_state(self)
  end
  if mistake then
    return nil, mistake
  end
  self.started_at = self.state and self.state.started_at or context.now()
  self.since, mistake = since_of(self, options.since)
  mistake = mistake and mistake:gsub("^since", "option '--since'") or read_first(self)
  self.is_prepared = true
  return not mistake and self or nil, mistake
end

return FleetPlan
