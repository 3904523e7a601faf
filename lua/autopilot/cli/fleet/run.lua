--- One run of `autopilot-sync fleet`, from the first request to the exit code.

local FleetSummary = require "autopilot.cli.fleet.summary"
local core = require "autopilot.core"
local dry_run = require("autopilot.base.lazy") "autopilot.cli.dry_run"
local progress = require "autopilot.cli.progress"
local report_file = require "autopilot.cli.fleet.report_file"
local text = require "autopilot.cli.text"

-- Exit codes that do not come from an outcome; the last two are 128 and the signal's number, as in a shell.
local failed, some_failed, interrupted, terminated = 1, 9, 130, 143

-- Seconds of one wait at most, so that Ctrl-C is noticed and the progress drawn.
local longest_wait = 0.2

--- Whether the list is a file, whose rest can be read at once after an interrupt. A pipe may have no end.
local function is_list_finite(self)
  return self.list.size ~= nil
end

--- Called again and again while the fleet waits: checks for an interrupt, and draws the progress.
local function tick(self)
  local was_interrupted, by_sigterm = self.context.was_interrupted()
  if was_interrupted and not self.interrupt_code then
    self.interrupt_code = by_sigterm and terminated or interrupted
    self.output:complain "interrupted: what was sent is awaited; once more ends it at once"
    self.fleet:cancel(nil, is_list_finite(self))
  end
  if self.draw then
    self.draw()
  end
end

local function new_fleet(self)
  local context, options = self.context, self.fleet_options
  function options.sleep(seconds)
    context.sleep(math.min(seconds, longest_wait))
    tick(self)
  end
  function options.wait(set, seconds)
    set:step(math.min(seconds, longest_wait))
    tick(self)
  end
  local fleet = (context.fleet or require "autopilot.fleet")(options)
  if self.options.dry_run then
    -- Replaces the client's method, with its arguments and limits.
    function fleet.operate(client, _, arguments)
      return dry_run.of(client, fleet.operation_name, arguments)
    end
  end
  return fleet
end

--- Closes the run in the state file if it is finished: the next one with the same state begins anew. It
-- is not finished if reports could not be written: the next run prints them. Returns a message if something was not
-- written.
local function settle_state(self)
  local state, deadline = self.state, self.options.deadline
  local is_cut_off = self.interrupt_code or (deadline and self.fleet.summary.elapsed >= deadline)
  if state and not (is_cut_off or self.list.failure or self.output.lost) then
    state:finish()
  end
  if state and state.lost then
    local path = self.options.state
    local is_shared = path:find "^postgres%a*://"
    local what = is_shared and "state in the database" or "state file " .. path
    return ("the %s could not be written: %s"):format(what, state.lost)
  end
end

--- What went wrong with the run as a whole, in sentences.
local function remarks_on(self, lost)
  local remarks, failure = { lost }, self.list.failure
  remarks[#remarks + 1] = failure and "the list could not be read to its end: " .. failure
  if self.interrupt_code then
    remarks[#remarks + 1] = self.state
        and "interrupted: the same command goes on where this one ended"
      or is_list_finite(self) and "interrupted: the other tenants are reported as cancelled"
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
    for _, line in
      ipairs(FleetSummary.outcomes(counted, list, options.dry_run and self.summary.would_post))
    do
      output:line(line)
    end
  end
end

--- Writes the report of the option `--report`. Returns why that failed, or nil.
local function write_report(self)
  local path = self.options.report
  local complaint = path and report_file.write(path, self)
  if complaint then
    self.output:complain(("the report %s could not be written: %s"):format(path, complaint))
  end
  return complaint
end

local function exit_code(self, lost)
  local list = self.list
  if self.interrupt_code then
    return self.interrupt_code
  elseif self.fleet.summary.failed > 0 or list.bad > 0 or list.failure then
    return some_failed
  end
  return lost and failed or 0
end

--- Runs a plan, to which it adds the fields of `autopilot.cli.FleetRun`.
---@param self autopilot.cli.FleetPlan
---@return integer exit_code
return function(self)
  local options, context = self.options, self.context
  local began = context.clock()
  self.output, self.summary = context.output, FleetSummary.new(options.report ~= nil)
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
  local lost = settle_state(self)
  self.remarks = remarks_on(self, lost)
  lost = write_report(self) or lost -- its complaint comes before the table
  print_results(self)
  return exit_code(self, lost)
end
