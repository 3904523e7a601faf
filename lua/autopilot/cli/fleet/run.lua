--- One run of `autopilot-sync fleet`, from the list of tenants to the exit code.
--
-- Errors of the command as a whole are found before anything is sent.

local FleetSummary = require "autopilot.cli.fleet.summary"
local cli_options = require "autopilot.cli.options"
local client_of = require "autopilot.cli.client"
local core = require "autopilot.core"
local dry_run = require("autopilot.base.lazy") "autopilot.cli.dry_run"
local lines = require "autopilot.cli.fleet.lines"
local merged = require "autopilot.base.merged"
local open_list = require "autopilot.cli.fleet.tenant_list"
local progress = require "autopilot.cli.progress"
local report_file = require "autopilot.cli.fleet.report_file"
local sign_in = require "autopilot.cli.sign_in"
local text = require "autopilot.cli.text"

-- Exit codes that do not come from an outcome; the last two are 128 and the signal's number, as in a shell.
local failed, some_failed, interrupted, terminated = 1, 9, 130, 143

-- Seconds of one wait at most, so that Ctrl-C is noticed and the progress drawn; and between two looks at a pipe that
-- has not given the first tenant yet.
local longest_wait, between_looks = 0.2, 0.05

-- Seconds of the run at least if its first tenant came right before the deadline.
local shortest_run = 0.001

---@class autopilot.cli.FleetRun also the options and the context of the command, and the parts that are made of them
---@field described autopilot.ClientOptions what the clients of all tenants have in common
---@field default autopilot.TokenProvider? of tenants whose line says nothing about signing in
---@field mistake string? why there is no `default`
---@field providers table<string, autopilot.TokenProvider> of the others
---@field first autopilot.cli.Tenant|false|nil which was read already
---@field started_at number Unix seconds; of a run that is taken up again, when it first began
---@field began_at number Unix seconds
---@field ends number when the command is to end, by the clock of its context; infinity: without `--deadline`
---@field time_left number? seconds for the fleet until then
---@field since number? Unix seconds; of tenants whose line says nothing about it
---@field interrupt_code integer? the exit code after a signal
---@field remarks string[] what went wrong with the run as a whole

-- ---- The tenants -------------------------------------------------------------------------------------

--- A provider for the options of the command with those of the tenant in their place; or nil and what is wrong.
local function open_provider(self, tenant)
  local own = { tenant = tenant.tenant, client_id = tenant.client_id }
  local options = merged(self.options, own)
  if tenant.client_secret_file then
    options.auth, options.client_secret_file = "secret", tenant.client_secret_file
    options.certificate, options.token_file, options.refresh_token_file = nil, nil, nil
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

--- The next tenant whose line is right, with its provider and, if its line has a time, its own `since`. A relative time
-- counts from when the run began, even if the run is resumed.
local function next_tenant(self)
  local tenant = self.first or self.list:next()
  self.first = nil
  if not tenant then
    return tenant
  end
  local provider, message = provider_of(self, tenant)
  -- A tenant that cannot be signed in to is reported like any other whose provider fails.
  tenant.provider = provider
    or function()
      return nil, ("line %d: %s"):format(tenant.line, message)
    end
  local mistake
  if tenant.since then
    tenant.since, mistake = text.read_since(tenant.since, self.started_at, self.context.now())
  end
  if mistake then
    self.list:refuse(tenant.line, "since " .. mistake)
    return next_tenant(self)
  end
  return tenant
end

--- Reads the first tenant, for which it waits. If neither its line nor the command says how to sign in, the
-- error is the command's, not the line's.
local function read_first(self)
  local context, first = self.context, self.list:next()
  while first == false do
    if context.clock() >= self.ends then
      cli_options.refuse("the list %s: nothing came before the deadline", self.list.file)
    end
    context.sleep(between_looks)
    first = self.list:next()
  end
  if first and self.mistake and not first.client_id and not first.client_secret_file then
    cli_options.refuse(self.mistake)
  end
  self.first = first
end

local function open_lines(self)
  local options, context = self.options, self.context
  local read_line, size = lines.open(options.file, context.stdin)
  if not read_line then
    cli_options.refuse("the list cannot be read: " .. size)
  end
  local function complain(sentence)
    self.output:complain(sentence)
  end
  return open_list {
    read_line = read_line,
    file = options.file,
    size = size,
    cloud = options.cloud or "global",
    column = options.column,
    complain = complain,
    note = options.quiet and function() end or complain,
  }
end

local function open_state(self)
  local options, context = self.options, self.context
  local subject = { options.operation, options.file } -- tells this run from others in the file
  for _, name in ipairs { "since", "max_age", "cloud" } do
    subject[#subject + 1] = options[name] and ("%s=%s"):format(name, tostring(options[name]))
  end
  local state, mistake = require("autopilot.fleet.state").open {
    path = options.state,
    subject = table.concat(subject, "\n"),
    host = self.described.base_url,
    resume_within = options.resume_within,
    cooldown = options.cooldown,
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

--- The arguments of the operation for a tenant.
local function arguments_of(self, tenant)
  local options, since = self.options, tenant.since or self.since
  local max_age = not tenant.since and options.max_age or nil
  if options.operation == "ensure" and not max_age then
    since = math.min(since or self.started_at, self.context.now()) -- the clock may have been set back
  end
  local takes_since = options.operation == "ensure" or options.operation == "wait"
  return takes_since and { since = since, max_age = max_age } or nil
end

--- Checks everything that can be wrong with the command. Nothing is sent.
local function prepare(self)
  local options, context = self.options, self.context
  local complaint = options.report and report_file.complaint_about(options.report)
  if complaint then
    cli_options.refuse("the report %s %s", options.report, complaint)
  elseif options.report and (options.report == options.file or options.report == options.state) then
    cli_options.refuse "option '--report' names the list or the state file, which it would replace"
  end
  context:report_termination()
  context.has_several = true
  self.ends = context.clock() + (options.deadline or math.huge)
  self.described = client_of.describe(options, context)
  -- This client is made to check its options.
  local any = merged(self.described, { token = "none", tenant = "any" })
  client_of.make(any, options, context):close()
  self.default, self.mistake = open_provider(self, { tenant = "any" })
  self.list = open_lines(self)
  read_first(self)
  self.state = options.state and open_state(self)
  self.started_at = self.state and self.state.started_at or context.now()
  self.since = cli_options.since(options, self.started_at, context.now())
end

-- ---- The run -----------------------------------------------------------------------------------------

--- Called again and again while the fleet waits: checks for an interrupt, and draws the progress.
local function tick(self)
  local was_interrupted, by_sigterm = self.context.was_interrupted()
  if was_interrupted and not self.interrupt_code then
    self.interrupt_code = by_sigterm and terminated or interrupted
    self.output:complain "interrupted: what was sent is awaited; once more ends it at once"
    self.fleet:cancel(nil, self.list.size ~= nil) -- a pipe may have no end
  end
  if self.draw then
    self.draw()
  end
end

local function new_fleet(self)
  local context, options = self.context, self.options
  self.time_left = options.deadline and math.max(shortest_run, self.ends - context.clock())
  local fleet = (context.fleet or require "autopilot.fleet") {
    tenants = function()
      return next_tenant(self)
    end,
    client = function(tenant)
      local own = { tenant = tenant.tenant, token = tenant.provider, cloud = tenant.cloud }
      return merged(self.described, own)
    end,
    arguments = function(tenant)
      return arguments_of(self, tenant)
    end,
    operation = options.operation,
    concurrency = options.concurrency,
    spread = options.spread,
    deadline = self.time_left,
    state = self.state,
    on_event = self.described.on_event,
    clock = context.clock,
    now = context.now,
    random = context.random,
    sleep = function(seconds)
      context.sleep(math.min(seconds, longest_wait))
      tick(self)
    end,
    wait = function(set, seconds)
      set:step(math.min(seconds, longest_wait))
      tick(self)
    end,
  }
  if options.dry_run then
    -- Replaces the client's method, with its arguments and limits.
    function fleet.operate(client, _, arguments)
      return dry_run.of(client, options.operation, arguments)
    end
  end
  return fleet
end

--- Closes the run in the state file if it is finished: the next one with the same state begins anew. It is not finished
-- if reports could not be written: the next run prints them.
local function settle_state(self)
  local deadline = self.time_left
  local is_cut_off = self.interrupt_code or (deadline and self.fleet.summary.elapsed >= deadline)
  if self.state and not (is_cut_off or self.list.failure or self.output.lost) then
    self.state:finish()
  end
end

--- What went wrong with the run as a whole, in sentences.
local function remarks_on(self)
  local remarks, failure, state = {}, self.list.failure, self.state
  if state and state.lost then
    local path = self.options.state
    local place = path:find "^postgres%a*://" and "in the database" or "file " .. path
    remarks[1] = ("the state %s could not be written: %s"):format(place, state.lost)
  end
  remarks[#remarks + 1] = failure and "the list could not be read to its end: " .. failure
  if self.interrupt_code then
    remarks[#remarks + 1] = state and "interrupted: the same command goes on where this one ended"
      or self.list.size and "interrupted: the other tenants are reported as cancelled"
      or "interrupted: tenants without a report were not begun"
  end
  return remarks
end

--- Prints the failed tenants, then messages about the run as a whole, then the table of outcomes.
local function print_results(self)
  local output, options, list, counted = self.output, self.options, self.list, self.fleet.summary
  local failures = options.json and {} or self.summary:failures()
  for _, line in ipairs(failures) do
    output[options.quiet and "warn" or "line"](output, line)
  end
  if #failures > 0 and not options.quiet then
    output:line ""
  end
  for _, remark in ipairs(self.remarks) do
    output:complain(remark)
  end
  if not options.json and not options.quiet then
    local would_post = options.dry_run and self.summary.would_post
    for _, line in ipairs(FleetSummary.outcomes(counted, list, would_post)) do
      output:line(line)
    end
  end
end

--- Ends the run that has reported all tenants: writes and prints what there is to say about it.
local function conclude(self)
  local path, list = self.options.report, self.list
  settle_state(self)
  self.remarks = remarks_on(self)
  local complaint = path and report_file.write(path, self)
  if complaint then
    self.output:complain(("the report %s could not be written: %s"):format(path, complaint))
  end
  print_results(self)
  if self.interrupt_code then
    return self.interrupt_code
  elseif self.fleet.summary.failed > 0 or list.bad > 0 or list.failure then
    return some_failed
  end
  return (complaint or self.state and self.state.lost) and failed or 0
end

---@param options table<string, any> of the command
---@param context autopilot.cli.Context
return function(options, context)
  local self = {
    options = options,
    context = context,
    output = context.output,
    providers = setmetatable({}, { __mode = "v" }),
    summary = FleetSummary.new(options.report ~= nil),
  }
  prepare(self)
  local began = context.clock()
  self.began_at = context.now()
  self.fleet = new_fleet(self)
  self.draw = progress.drawer(context, options, function(width)
    local told = self.fleet:progress()
    told.total, told.is_exact = self.list:expected()
    told.elapsed = context.clock() - began
    return progress.fleet_line(told, width)
  end)
  if context.was_interrupted == core.was_interrupted then
    core.note_interrupt() -- the first signal, so that `tick` finds it
    table.insert(context.at_end, core.release_interrupt)
  end
  if self.state and self.state.done_before > 0 and not options.quiet then
    local done = text.count(self.state.done_before)
    self.output:complain(("taking up the run that was begun before: %s done already"):format(done))
  end
  for tenant, report in self.fleet:run() do
    self.summary:add(tenant, report)
    if options.json then
      self.output:json(report)
    elseif report.would_post ~= nil and not options.quiet then
      self.output:line(dry_run.line(report))
    end
    tick(self)
  end
  return conclude(self)
end
