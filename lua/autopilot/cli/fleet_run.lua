--- One run of `autopilot-sync fleet`: from the list to the exit code.
--
-- What can be wrong with the command as a whole is found out by `prepare`, before anything is sent.

local FleetSignIn = require "autopilot.cli.fleet_sign_in"
local FleetSummary = require "autopilot.cli.fleet_summary"
local core = require "autopilot.core"
local fleet_progress = require "autopilot.cli.fleet_progress"
local input_file = require "autopilot.cli.input_file"
local json = require "autopilot.cli.json"
local moment = require "autopilot.cli.moment"
local service_options = require "autopilot.cli.service_options"
local tenant_list = require "autopilot.cli.tenant_list"

local fleet_run = {}

-- Exit codes that are not an outcome's; the last two are 128 and the signal, as of a shell.
local failed, some_failed, interrupted, terminated = 1, 9, 130, 143

-- Seconds after which the terminal and Ctrl-C are looked at, while nothing else happens; and a pipe
-- that is to tell of the first tenant.
local longest_wait, between_looks = 0.2, 0.05

---@class autopilot.cli.FleetRun
---@field package options table<string, any>
---@field package context autopilot.cli.Context
local FleetRun = {}
FleetRun.__index = FleetRun

local function at_end(context, clean_up)
  table.insert(context.at_end, clean_up)
end

--- Lets a moment pass for whoever writes the list. Nothing is under way yet; Ctrl-C ends it.
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
    pause = function()
      return (pause(self))
    end,
    complain = function(sentence)
      self:tell(sentence)
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
  if since > self.now() then
    return nil, "since must not be in the future"
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
local function next_tenant(self)
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

--- The client of a tenant.
local function client_options(self, tenant)
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

--- Looks at all that can be wrong with the command. Nothing is sent.
---@param options table<string, any>
---@param context autopilot.cli.Context
---@return autopilot.cli.FleetRun?
---@return string? mistake one sentence
function fleet_run.prepare(options, context)
  local self = setmetatable({
    options = options,
    context = context,
    now = context.now or core.now,
    clock = context.clock or core.clock,
    summary = FleetSummary.new(),
  }, FleetRun)
  self.prepared_at = self.clock()
  local given, origins = service_options.describe(options, context)
  local mistake = not given and origins or check_client(given, origins)
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
  mistake = mistake and "option '--since' must not be in the future" or read_first(self)
  if mistake then
    return nil, mistake
  end
  return self
end

--- Says something on standard error.
---@package
function FleetRun:tell(sentence)
  local function say()
    self.context.output:complain(sentence)
  end
  if self.progress then
    self.progress:interrupt(say)
  else
    say()
  end
end

local function facts(self)
  local told, total, is_exact = self.fleet:progress(), self.list:expected()
  return {
    done = self.summary.total,
    failed = self.summary.failed,
    recalled = self.summary.recalled,
    in_flight = told.in_flight,
    asleep = told.asleep,
    total = total,
    is_exact = is_exact,
    elapsed = self.clock() - self.began,
  }
end

--- What is done again and again while the fleet waits.
local function tick(self)
  local context = self.context
  local was_interrupted, by_the_system = (context.was_interrupted or core.was_interrupted)()
  if not self.is_interrupted and was_interrupted then
    self.is_interrupted = true
    self.interrupted_code = by_the_system and terminated or interrupted
    self:tell "interrupted: what was sent is awaited; once more ends it at once"
    self.fleet:cancel()
  end
  self.progress:draw()
end

--- What the operation is called with, for a tenant.
local function arguments_of(self, tenant)
  local operation, max_age = self.options.operation, self.options.max_age
  if operation == "ensure" then
    -- Without a moment: since this run began, so that whoever comes late finds done what is done.
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

local function new_fleet(self)
  local context, options = self.context, self.options
  local sleep = context.sleep or core.sleep
  local new = context.fleet or require "autopilot.fleet"
  return new {
    tenants = function()
      return next_tenant(self)
    end,
    client = function(tenant)
      return client_options(self, tenant)
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
    sleep = function(seconds)
      sleep(math.min(seconds, longest_wait))
      tick(self)
    end,
    wait = function(set, seconds)
      set:step(math.min(seconds, longest_wait))
      tick(self)
    end,
  }
end

--- Takes one report.
local function take(self, tenant, report)
  self.summary:add(tenant, report)
  if self.options.json then
    self.context.output:line(json.encode(report))
  end
  tick(self)
end

--- Whether every tenant of the list has had its turn, so that the next run begins anew.
local function is_finished(self, elapsed)
  local deadline = self.options.deadline
  local is_cut_off = self.is_interrupted or (deadline and elapsed >= deadline)
  -- Reports that nobody has got are told again.
  return not (is_cut_off or self.list.failure or self.context.output.lost)
end

--- Closes the run in the state file; a sentence when something was not written.
local function settle_state(self, elapsed)
  local state = self.state
  if state and is_finished(self, elapsed) then
    state:finish()
  end
  if state and state.lost then
    return ("the state file %s could not be written: %s"):format(self.options.state, state.lost)
  end
end

local function print_summary(self, elapsed)
  local output, options, summary = self.context.output, self.options, self.summary
  if options.json then
    return
  end
  if not options.quiet then
    for _, line in ipairs(summary:outcomes(self.list, elapsed)) do
      output:line(line)
    end
  end
  local failures = summary:failures()
  if #failures > 0 and not options.quiet then
    output:line ""
  end
  for _, line in ipairs(failures) do
    if options.quiet then
      output:warn(line)
    else
      output:line(line)
    end
  end
end

--- Says how to go on after an interrupt.
local function tell_interrupted(self)
  self:tell(
    self.state and "interrupted: the same command goes on where this one ended"
      or "interrupted: tenants that are not told of were not begun with"
  )
end

local function exit_code(self, lost)
  if self.is_interrupted then
    return self.interrupted_code
  elseif self.summary.failed > 0 or self.list.bad > 0 or self.list.failure then
    return some_failed
  end
  return lost and failed or 0
end

local function note_interrupts(context)
  if not context.was_interrupted then
    core.note_interrupt()
    at_end(context, core.release_interrupt)
  end
end

--- Runs it.
---@return integer exit_code
function FleetRun:go()
  self.began = self.clock()
  self.fleet = new_fleet(self)
  self.progress = fleet_progress.start(self.context, self.options, function()
    return facts(self)
  end)
  note_interrupts(self.context)
  if self.state and self.state.done_before > 0 then
    self:tell(
      ("taking up the run that was begun before: %s done already"):format(
        fleet_progress.grouped(self.state.done_before)
      )
    )
  end
  for tenant, report in self.fleet:run() do
    take(self, tenant, report)
  end
  self.progress:erase()
  local elapsed = self.clock() - self.began
  local lost = settle_state(self, elapsed)
  print_summary(self, elapsed)
  if lost then
    self:tell(lost)
  end
  if self.list.failure then
    self:tell("the list could not be read to its end: " .. self.list.failure)
  end
  if self.is_interrupted then
    tell_interrupted(self)
  end
  return exit_code(self, lost)
end

return fleet_run
