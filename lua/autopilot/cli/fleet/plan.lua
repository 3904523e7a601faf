--- What `autopilot-sync fleet` is to do, and for whom: the list, and what the options make of its tenants.
--
-- What can be wrong with the command as a whole is found out by `prepare`, before anything is sent.

local FleetSignIn = require "autopilot.cli.fleet.sign_in"
local core = require "autopilot.core"
local input_file = require "autopilot.cli.input_file"
local moment = require "autopilot.cli.moment"
local service_options = require "autopilot.cli.service_options"
local tenant_list = require "autopilot.cli.fleet.tenant_list"

-- Seconds after which a pipe is looked at that is to tell of the first tenant.
local between_looks = 0.05

---@class autopilot.cli.FleetPlan
---@field list autopilot.cli.TenantList
---@field state autopilot.fleet.State?
---@field complain fun(sentence: string) tells what is wrong with a line
---@field package options table<string, any>
---@field package context autopilot.cli.Context
local FleetPlan = {}
FleetPlan.__index = FleetPlan

local function at_end(context, clean_up)
  table.insert(context.at_end, clean_up)
end

--- Waits a moment for the writer of the list. Nothing is under way yet; Ctrl-C ends the command.
---@return string? late why there is no more time for that
local function pause(self)
  local sleep, deadline = self.context.sleep or core.sleep, self.options.deadline
  if deadline and self.clock() - self.prepared_at >= deadline then
    return "nothing came before the deadline"
  end
  sleep(between_looks)
end

local function open_list(self)
  local options, context = self.options, self.context
  local read_line, size, close =
    input_file.lines(options.file, context.stdin, tenant_list.longest_line)
  if not read_line then
    return nil, "the list cannot be read: " .. size
  end
  if close then
    at_end(context, close)
  end
  local list, mistake = tenant_list.open {
    read_line = read_line,
    size = size,
    cloud = options.cloud or "global",
    column = options.column,
    pause = function()
      return (pause(self))
    end,
    complain = function(sentence)
      self.complain(sentence)
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
    at_end(context, function()
      state:close()
    end)
  end
  return state, mistake
end

--- Makes a client once, so that what is wrong with the options is told before anything is sent.
local function check_client(given, origins)
  local trial = { token = "none" }
  for name, value in pairs(given) do
    trial[name] = value
  end
  local client, mistake = service_options.make(trial, origins)
  if client then
    client:close()
  end
  return mistake
end

--- Resolves the moment of the options, and that of a tenant, for a run that began at `started_at`: for
-- one that is taken up again it is the same as it was.
local function since_of(self, text)
  if not text then
    return self.since
  end
  local since = moment.parse(text, self.started_at)
  local complaint = moment.complaint(since, self.now())
  if complaint then
    return nil, "since " .. complaint
  end
  return since
end

--- The provider of a tenant that cannot be signed in to: a failure that has its report like any other.
local function failing_provider(line, message)
  return function()
    return nil, ("line %d: %s"):format(line, message)
  end
end

--- Gives the tenant its provider and its moment; or returns nil and what is wrong with the line.
local function admit(self, tenant)
  local provider, message = self.sign_in:provider(tenant)
  if not provider then
    provider = failing_provider(tenant.line, message)
  end
  local since
  since, message = since_of(self, tenant.since)
  if message then
    return nil, message
  end
  tenant.provider, tenant.moment = provider, since
  return tenant
end

--- The next tenant that can be begun with; false when it is not there yet, nil at the end of the list.
---@return table|false|nil tenant
function FleetPlan:next_tenant()
  local tenant = self.first
  self.first = nil
  while not tenant do
    local read = self.list:next()
    if not read then
      return read
    end
    local message
    tenant, message = admit(self, read)
    if not tenant then
      self.list:refuse(read.line, message)
    end
  end
  return tenant
end

--- The options of a tenant's client.
---@param tenant table
---@return autopilot.ClientOptions
function FleetPlan:client_options(tenant)
  local given = {}
  for name, value in pairs(self.client) do
    given[name] = value
  end
  given.tenant, given.token = tenant.tenant, tenant.provider
  given.cloud = tenant.cloud or given.cloud
  return given
end

--- Finds out whether the first tenant of the list can be signed in to: when it cannot, for want of a
-- way that holds for all, the command is wrong and not its line.
local function read_first(self)
  local first = self.list:next()
  while first == false do
    local late = pause(self)
    if late then
      return ("the list %s: %s"):format(self.options.file, late)
    end
    first = self.list:next()
  end
  if first and not first.client_id and not first.client_secret_file and self.sign_in.mistake then
    return self.sign_in.mistake
  elseif first then
    local tenant, message = admit(self, first)
    if tenant then
      self.first = tenant
    else
      self.list:refuse(first.line, message)
    end
  end
end

--- What the operation is called with, for a tenant.
---@param tenant table
---@return table?
function FleetPlan:arguments_of(tenant)
  local operation, max_age = self.options.operation, self.options.max_age
  if operation == "ensure" then
    -- Without a moment: since this run began, so that a run that goes on later counts its syncs.
    local since = tenant.moment
    if not since and not max_age then
      since = math.min(self.started_at, self.now())
    end
    return { since = since, max_age = not since and max_age or nil }
  elseif operation == "wait" then
    return { since = tenant.moment }
  end
  return nil
end

--- Looks at all that can be wrong with the command. Nothing is sent.
---@param options table<string, any>
---@param context autopilot.cli.Context
---@return autopilot.cli.FleetPlan?
---@return string? mistake one sentence
function FleetPlan.prepare(options, context)
  local self = setmetatable({
    options = options,
    context = context,
    now = context.now or core.now,
    clock = context.clock or core.clock,
    complain = function(sentence)
      context.output:complain(sentence)
    end,
  }, FleetPlan)
  self.prepared_at = self.clock()
  local given, origins = service_options.describe(options, context)
  local mistake = check_client(given, origins)
  if mistake then
    return nil, mistake
  end
  self.client = given
  given.sleep, given.clock, given.now, given.random = nil, nil, nil, nil -- the fleet's own
  self.sign_in = FleetSignIn.new(options, context)
  self.list, mistake = open_list(self)
  if not self.list then
    return nil, mistake
  end
  self.state, mistake = open_state(self)
  if mistake then
    return nil, mistake
  end
  self.started_at = self.state and self.state.started_at or self.now()
  self.since, mistake = since_of(self, options.since)
  mistake = mistake and mistake:gsub("^since", "option '--since'") or read_first(self)
  if mistake then
    return nil, mistake
  end
  return self
end

return FleetPlan
