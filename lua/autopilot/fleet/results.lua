--- The reports of a run: a queue of those that have not been taken yet, and counts of all.

---@class autopilot.fleet.Results: { [integer]: table } those that wait, by their number: `{ tenant, report }`
---@field counts table of a summary, without `elapsed`
local Results = {}
Results.__index = Results

---@class autopilot.fleet.Summary
---@field total integer reports
---@field ok integer
---@field failed integer
---@field known integer done by an earlier run, and not repeated
---@field by_outcome table<string, integer>
---@field callback_errors integer how often `on_report` raised
---@field elapsed number seconds

function Results.new()
  return setmetatable({
    first = 1, -- numbers of the oldest report in the queue and of the newest
    last = 0,
    counts = { total = 0, ok = 0, failed = 0, known = 0, callback_errors = 0, by_outcome = {} },
  }, Results)
end

--- Adds a report to the queue, and counts it. `is_known`: it comes from the state of an earlier run.
function Results:add(tenant, report, is_known)
  local counts, kind = self.counts, report.ok and "ok" or "failed"
  local by_outcome, outcome = counts.by_outcome, report.outcome or kind
  counts.total, counts[kind] = counts.total + 1, counts[kind] + 1
  by_outcome[outcome] = (by_outcome[outcome] or 0) + 1
  counts.known = counts.known + (is_known and 1 or 0)
  self.last = self.last + 1
  self[self.last] = { tenant, report }
end

--- Whether all reports have been taken.
function Results:is_empty()
  return self.first > self.last
end

--- Takes the oldest report out of the queue, and returns its tenant and it; nil when it is empty.
function Results:take()
  local entry = self[self.first]
  if entry then
    self[self.first], self.first = nil, self.first + 1
    return entry[1], entry[2]
  end
end

return Results
