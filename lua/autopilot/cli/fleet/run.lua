--- One run of `autopilot-sync fleet`, from the first request to the exit code.

local FleetSummary = require "autopilot.cli.fleet.summary"
local core = require "autopilot.core"
local progress = require "autopilot.cli.progress"
local text = require "autopilot.cli.text"

-- Exit codes that do not come from an outcome; the last two are 128 and the signal's number, as in a shell.
local failed, some_failed, interrupted, terminated = 1, 9, 130, 143

-- Seconds between two looks for Ctrl-C and two drawings, while nothing else happens.
local longest_wait = 0.2

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
    elapsed = self.context.clock() - self.began,
  }
end

--- Whether the list is a file, whose rest can be read at once after an interrupt. A pipe may have no end.
local function is_list_finite(self)
  return self.plan.list.size ~= nil
end

--- What is done again and again while the fleet waits: looks for an interrupt, and draws the progress.
local function tick(self)
  local was_interrupted, by_sigterm = self.context.was_interrupted()
  if was_interrupted and not self.interrupt_code then
    self.interrupt_code = by_sigterm and terminated or interrupted
    self.context.output:complain("interrupted: what was sent is awaited; once more ends it at once")
    self.fleet:cancel(nil, is_list_finite(self))
  end
  if self.draw then
    self.draw()
  end
end

local function new_fleet(self)
  local context, options = self.context, self.plan:fleet_options()
  function options.sleep(seconds)
    context.sleep(math.min(seconds, longest_wait))
    tick(self)
  end
  function options.wait(set, seconds)
    set:step(math.min(seconds, longest_wait))
    tick(self)
  end
  return (context.fleet or require "autopilot.fleet")(options)
end

--- Takes one report.
local function take(self, tenant, report)
  self.summary:add(tenant, report)
  if self.options.json then
    self.context.output:json(report)
  end
  tick(self)
end

--- Whether the run has come to its end, so that the next one with the same state begins anew. It has not where
-- reports could not be written: the next run prints them.
local function is_finished(self, elapsed)
  local deadline = self.options.deadline
  local is_cut_off = self.interrupt_code or (deadline and elapsed >= deadline)
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

--- Prints the tenants that failed, and an empty line before the table that follows.
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

--- Says on standard error what became of the state file, the list and the run as a whole.
local function tell_ends(self, lost)
  if lost then
    self.context.output:complain(lost)
  end
  if self.plan.list.failure then
    self.context.output:complain(
      "the list could not be read to its end: " .. self.plan.list.failure
    )
  end
  if self.interrupt_code then
    self.context.output:complain(
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
  local list = self.plan.list
  if self.interrupt_code then
    return self.interrupt_code
  elseif self.summary.failed > 0 or list.bad > 0 or list.failure then
    return some_failed
  end
  return lost and failed or 0
end

--- Makes the first signal only noted, so that `tick` finds it.
local function note_interrupts(context)
  if context.was_interrupted == core.was_interrupted then
    core.note_interrupt()
    table.insert(context.at_end, core.release_interrupt)
  end
end

--- Runs a plan.
---@param plan autopilot.cli.FleetPlan
---@param options table<string, any> of the command
---@param context autopilot.cli.Context
---@return integer exit_code
return function(plan, options, context)
  local self = { plan = plan, options = options, context = context, summary = FleetSummary.new() }
  self.began = context.clock()
  self.fleet = new_fleet(self)
  self.draw = progress.drawer(context, options, function(width)
    return progress.fleet_line(facts(self), width)
  end)
  note_interrupts(context)
  if plan.state and plan.state.done_before > 0 then
    local done = text.count(plan.state.done_before)
    self.context.output:complain(
      ("taking up the run that was begun before: %s done already"):format(done)
    )
  end
  for tenant, report in self.fleet:run() do
    take(self, tenant, report)
  end
  local elapsed = context.clock() - self.began
  local lost = settle_state(self, elapsed)
  print_failures(self)
  tell_ends(self, lost)
  print_table(self, elapsed)
  return exit_code(self, lost)
end
