--- One run of `autopilot-sync fleet`, from the first request to the exit code.

local FleetSummary = require "autopilot.cli.fleet.summary"
local core = require "autopilot.core"
local fleet_progress = require "autopilot.cli.fleet.progress"
local progress = require "autopilot.cli.progress"

-- Exit codes that are not an outcome's; the last two are 128 and the signal, as of a shell.
local failed, some_failed, interrupted, terminated = 1, 9, 130, 143

-- Seconds after which the terminal and Ctrl-C are looked at, while nothing else happens.
local longest_wait = 0.2

---@class autopilot.cli.FleetRun
---@field package plan autopilot.cli.FleetPlan
---@field package options table<string, any>
---@field package context autopilot.cli.Context
local FleetRun = {}
FleetRun.__index = FleetRun

--- A run of that plan. Nothing is sent yet.
---@param plan autopilot.cli.FleetPlan
---@param options table<string, any>
---@param context autopilot.cli.Context
---@return autopilot.cli.FleetRun
function FleetRun.new(plan, options, context)
  return setmetatable({
    plan = plan,
    options = options,
    context = context,
    clock = context.clock or core.clock,
    summary = FleetSummary.new(),
  }, FleetRun)
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
  local told, total, is_exact = self.fleet:progress(), self.plan.list:expected()
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

--- Whether the list is a file, whose rest can be read at once after an interrupt. A pipe may have no end.
local function is_list_finite(self)
  return self.plan.list.size ~= nil
end

--- What is done again and again while the fleet waits.
local function tick(self)
  local context = self.context
  local was_interrupted, by_the_system = (context.was_interrupted or core.was_interrupted)()
  if not self.is_interrupted and was_interrupted then
    self.is_interrupted = true
    self.interrupted_code = by_the_system and terminated or interrupted
    self:tell "interrupted: what was sent is awaited; once more ends it at once"
    self.fleet:cancel(nil, is_list_finite(self))
  end
  self.progress:draw()
end

local function new_fleet(self)
  local context, options = self.context, self.options
  local sleep = context.sleep or core.sleep
  local new = context.fleet or require "autopilot.fleet"
  return new {
    tenants = function()
      return self.plan:next_tenant()
    end,
    client = function(tenant)
      return self.plan:client_options(tenant)
    end,
    arguments = function(tenant)
      return self.plan:arguments_of(tenant)
    end,
    operation = options.operation,
    concurrency = options.concurrency,
    spread = options.spread,
    deadline = options.deadline,
    state = self.plan.state,
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
    self.context.output:json(report)
  end
  tick(self)
end

--- Whether every tenant of the list has had its turn, so that the next run begins anew.
local function is_finished(self, elapsed)
  local deadline = self.options.deadline
  local is_cut_off = self.is_interrupted or (deadline and elapsed >= deadline)
  -- Reports that could not be written are printed by the next run.
  return not (is_cut_off or self.plan.list.failure or self.context.output.lost)
end

--- Closes the run in the state file; a sentence when something was not written.
local function settle_state(self, elapsed)
  local state = self.plan.state
  if state and is_finished(self, elapsed) then
    state:finish()
  end
  if state and state.lost then
    return ("the state file %s could not be written: %s"):format(self.options.state, state.lost)
  end
end

--- Prints what went wrong. What follows it on the screen is the table of outcomes.
local function print_failures(self)
  local output, options = self.context.output, self.options
  local failures = options.json and {} or self.summary:failures()
  for _, line in ipairs(failures) do
    if options.quiet then
      output:warn(line)
    else
      output:line(line)
    end
  end
  if #failures > 0 and not options.quiet then
    output:line ""
  end
end

--- Says on standard error what became of the list, the state file and the run as a whole.
local function tell_ends(self, lost)
  if lost then
    self:tell(lost)
  end
  if self.plan.list.failure then
    self:tell("the list could not be read to its end: " .. self.plan.list.failure)
  end
  if self.is_interrupted then
    self:tell(
      self.plan.state and "interrupted: the same command goes on where this one ended"
        or is_list_finite(self) and "interrupted: the other tenants are reported as cancelled"
        or "interrupted: tenants without a report were not begun with"
    )
  end
end

local function print_table(self, elapsed)
  if self.options.json or self.options.quiet then
    return
  end
  for _, line in ipairs(self.summary:outcomes(self.plan.list, elapsed)) do
    self.context.output:line(line)
  end
end

local function exit_code(self, lost)
  if self.is_interrupted then
    return self.interrupted_code
  elseif self.summary.failed > 0 or self.plan.list.bad > 0 or self.plan.list.failure then
    return some_failed
  end
  return lost and failed or 0
end

local function note_interrupts(context)
  if not context.was_interrupted then
    core.note_interrupt()
    table.insert(context.at_end, core.release_interrupt)
  end
end

--- Runs it.
---@return integer exit_code
function FleetRun:go()
  self.began = self.clock()
  self.fleet = new_fleet(self)
  self.progress = progress.start(self.context, self.options, function(width)
    return fleet_progress.line(facts(self), width)
  end)
  self.plan.complain = function(sentence)
    self:tell(sentence)
  end
  note_interrupts(self.context)
  if self.plan.state and self.plan.state.done_before > 0 then
    self:tell(
      ("taking up the run that was begun before: %s done already"):format(
        fleet_progress.grouped(self.plan.state.done_before)
      )
    )
  end
  for tenant, report in self.fleet:run() do
    take(self, tenant, report)
  end
  self.progress:erase()
  local elapsed = self.clock() - self.began
  local lost = settle_state(self, elapsed)
  print_failures(self)
  tell_ends(self, lost)
  print_table(self, elapsed)
  return exit_code(self, lost)
end

return FleetRun
