--- The reports of a run: a queue of those that have not been taken yet, and counts of all.

---@class autopilot.fleet.Results
---@field package tenants autopilot.fleet.Tenant[] from `first` to `last`
---@field package reports autopilot.Report[]
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

---@return autopilot.fleet.Results
function Results.new()
  return setmetatable({
    tenants = {},
    reports = {},
    first = 1,
    last = 0,
    counts = { total = 0, ok = 0, failed = 0, known = 0, callback_errors = 0, by_outcome = {} },
  }, Results)
end

local function count(counts, name)
  counts[name] = (counts[name] or 0) + 1
end

--- Adds a report to the queue, and counts it.
---@param tenant autopilot.fleet.Tenant
---@param report autopilot.Report
function Results:add(tenant, report)
  local kind = report.ok and "ok" or "failed"
  count(self.counts, "total")
  count(self.counts, kind)
  count(self.counts.by_outcome, report.outcome or kind)
  self.last = self.last + 1
  self.tenants[self.last], self.reports[self.last] = tenant, report
end

--- Adds a report that comes from the state of an earlier run.
---@param tenant autopilot.fleet.Tenant
---@param report autopilot.Report
function Results:add_known(tenant, report)
  count(self.counts, "known")
  self:add(tenant, report)
end

--- Whether all reports have been taken.
---@return boolean
function Results:is_empty()
  return self.first > self.last
end

--- Takes the oldest report out of the queue.
---@return autopilot.fleet.Tenant tenant
---@return autopilot.Report report
function Results:take()
  local index = self.first
  local tenant, report = self.tenants[index], self.reports[index]
  self.tenants[index], self.reports[index] = nil, nil
  self.first = index + 1
  if self:is_empty() then
    self.first, self.last = 1, 0
  end
  return tenant, report
end

return Results
