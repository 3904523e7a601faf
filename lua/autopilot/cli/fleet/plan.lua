--- What `autopilot-sync fleet` will do: the list of tenants, and the options for each of them.
--
-- Errors of the command as a whole are found before anything is sent.

local cli_options = require "autopilot.cli.options"
local client_of = require "autopilot.cli.client"
local lines = require "autopilot.cli.fleet.lines"
local merged = require "autopilot.base.merged"
local open_list = require "autopilot.cli.fleet.tenant_list"
local report_file = require "autopilot.cli.fleet.report_file"
local sign_in = require "autopilot.cli.sign_in"
local text = require "autopilot.cli.text"

-- Seconds between two looks at a pipe that has not given the first tenant yet.
local between_looks = 0.05

---@class autopilot.cli.FleetPlan
---@field options table<string, any> of the command
---@field context autopilot.cli.Context
---@field list autopilot.cli.TenantList
---@field state autopilot.fleet.State?
---@field fleet_options autopilot.FleetOptions
---@field package client autopilot.ClientOptions what the clients of all tenants have in common
---@field package default autopilot.TokenProvider? of tenants whose line says nothing about signing in
---@field package mistake string? why there is no `default`
---@field package started_at number Unix seconds; of a run that is taken up again, when it first began
---@field package since number? Unix seconds; of tenants whose line says nothing about it
---@field package first autopilot.cli.Tenant|false|nil which was read already

--- A provider for the options of the command with those of the tenant in their place; or nil and what is wrong.
local function open_provider(self, tenant)
  local own = { tenant = tenant.tenant, client_id = tenant.client_id, has_several = true }
  local options = merged(self.options, own)
  if tenant.client_secret_file then
    options.auth, options.certificate, options.token_file = "secret", nil, nil
    options.refresh_token_file = nil
    options.client_secret_file = tenant.client_secret_file
  end
  local opened, result = pcall(sign_in.open, options, self.context)
  if opened then
    return result
  elseif type(result) == "table" and result.mistake then
    return nil, result.mistake
  end
  error(result, 0)
end

--- The provider for a tenant; or nil and what is wrong, with the names of the list's fields. Tenants with the same
-- application and secret file share one, which is freed when none of them is in progress any more.
local function provider_of(self, tenant)
  local client_id, secret_file = tenant.client_id, tenant.client_secret_file
  if not client_id and not secret_file then
    return self.default, self.mistake
  end
  local key = (client_id or "") .. "\n" .. (secret_file or "")
  local provider, message = self.providers[key], nil
  if not provider then
    provider, message = open_provider(self, tenant)
    self.providers[key] = provider
  end
  if message and secret_file then
    message = message:gsub("^%-%-client%-secret%-file", "client_secret_file")
  end
  return provider, message
end

--- Gives the tenant its provider and, if its line has a time, its own `since`. A relative time counts from when the
-- run began, even if the run is resumed. Returns false after it has refused a wrong line.
local function is_admitted(self, tenant)
  local provider, message = provider_of(self, tenant)
  local mistake
  -- A tenant that cannot be signed in to is reported like any other whose provider fails.
  tenant.provider = provider
    or function()
      return nil, ("line %d: %s"):format(tenant.line, message)
    end
  if tenant.since then
    tenant.since, mistake = text.read_since(tenant.since, self.started_at, self.context.now())
  end
  if mistake then
    self.list:refuse(tenant.line, "since " .. mistake)
  end
  return not mistake
end

--- Reads the first tenant, for which it waits. If neither its line nor the command says how to sign in, the
-- error is the command's, not the line's.
local function read_first(self)
  local context, options = self.context, self.options
  local ends = context.clock() + (options.deadline or math.huge)
  local first = self.list:next()
  while first == false do
    if context.clock() >= ends then
      cli_options.refuse(("the list %s: nothing came before the deadline"):format(options.file))
    end
    context.sleep(between_looks)
    first = self.list:next()
  end
  if first and self.mistake and not first.client_id and not first.client_secret_file then
    cli_options.refuse(self.mistake)
  end
  self.first = first
end

--- Opens the list.
local function open_lines(self)
  local options, context = self.options, self.context
  local read_line, size, close = lines.open(options.file, context.stdin)
  if not read_line then
    cli_options.refuse("the list cannot be read: " .. size)
  end
  context.at_end[#context.at_end + 1] = close -- nil for standard input
  local function complain(sentence)
    context.output:complain(sentence)
  end
  self.list = open_list {
    read_line = read_line,
    file = options.file,
    size = size,
    cloud = options.cloud or "global",
    column = options.column,
    complain = complain,
    note = options.quiet and function() end or complain,
  }
end

--- Opens the state file.
local function open_state(self)
  local options, context = self.options, self.context
  local subject = { options.operation or "sync", options.file } -- tells this run from others in the file
  for _, name in ipairs { "since", "max_age", "cloud" } do
    subject[#subject + 1] = options[name] and ("%s=%s"):format(name, tostring(options[name]))
  end
  local state, mistake = require("autopilot.fleet.state").open {
    path = options.state,
    subject = table.concat(subject, "\n"),
    host = self.client.base_url,
    resume_within = options.resume_within,
    now = context.now,
  }
  if not state then
    cli_options.refuse(mistake)
  end
  table.insert(context.at_end, function()
    state:close()
  end)
  return state
end

--- The options of the fleet; the run adds how to wait.
local function fleet_options(self)
  local options, context = self.options, self.context
  local function next_tenant()
    local tenant = self.first or self.list:next()
    self.first = nil
    if tenant and not is_admitted(self, tenant) then
      return next_tenant()
    end
    return tenant
  end
  local function arguments_of(tenant)
    local since, max_age = tenant.since or self.since, not tenant.since and options.max_age or nil
    if options.operation == "ensure" and not max_age then
      since = math.min(since or self.started_at, context.now()) -- the clock may have been set back
    end
    local takes_since = options.operation == "ensure" or options.operation == "wait"
    return takes_since and { since = since, max_age = max_age } or nil
  end
  return {
    tenants = next_tenant,
    client = function(tenant)
      local own = { tenant = tenant.tenant, token = tenant.provider, cloud = tenant.cloud }
      return merged(self.client, own)
    end,
    arguments = arguments_of,
    operation = options.operation,
    concurrency = options.concurrency,
    spread = options.spread,
    deadline = options.deadline,
    state = self.state,
    on_event = function(event)
      client_of.tell(event, context)
    end,
    clock = context.clock,
    now = context.now,
    random = context.random,
  }
end

--- Checks everything that can be wrong with the command. Nothing is sent.
---@param options table<string, any>
---@param context autopilot.cli.Context
---@return autopilot.cli.FleetPlan
return function(options, context)
  local complaint = options.report and report_file.complaint_about(options.report)
  if complaint then
    cli_options.refuse(("the report %s %s"):format(options.report, complaint))
  end
  if options.report and (options.report == options.file or options.report == options.state) then
    cli_options.refuse "option '--report' names the list or the state file, which it would replace"
  end
  context:report_termination()
  context.has_several = true
  local described = client_of.describe(options, context)
  -- This client is made to check its options.
  client_of.make(merged(described, { token = "none", tenant = "any" }), options, context):close()
  local self = { options = options, context = context, client = described }
  self.providers = setmetatable({}, { __mode = "v" })
  self.default, self.mistake = open_provider(self, { tenant = "any" })
  open_lines(self)
  read_first(self)
  self.state = options.state and open_state(self)
  self.started_at = self.state and self.state.started_at or context.now()
  self.since = cli_options.since(options, self.started_at, context.now())
  self.fleet_options = fleet_options(self)
  return self
end
