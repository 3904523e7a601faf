--- The reports of a run: those that nobody has taken yet, and the count of all.

---@class autopilot.fleet.Ledger
---@field total integer
---@field ok integer
---@field failed integer
---@field known integer
---@field callback_errors integer
---@field package by_outcome table<string, integer>
local Ledger = {}
Ledger.__index = Ledger

---@class autopilot.fleet.Summary
---@field total integer reports
---@field ok integer
---@field failed integer
---@field known integer done by an earlier run, and not repeated
---@field by_outcome table<string, integer>
---@field callback_errors integer how often `on_report` raised
---@field elapsed number seconds

---@return autopilot.fleet.Ledger
function Ledger.new()
  return setmetatable({
    tenants = {},
    reports = {},
    first = 1,
    last = 0,
    total = 0,
    ok = 0,
    failed = 0,
    known = 0,
    callback_errors = 0,
    by_outcome = {},
  }, Ledger)
end

---@param tenant autopilot.fleet.Tenant
---@param report autopilot.Report
function Ledger:add(tenant, report)
  local outcome = report.outcome or (report.ok and "ok" or "failed")
  local which = report.ok and "ok" or "failed"
  self.total, self[which] = self.total + 1, self[which] + 1
  self.by_outcome[outcome] = (self.by_outcome[outcome] or 0) + 1
  self.last = self.last + 1
  self.tenants[self.last], self.reports[self.last] = tenant, report
end

---@return boolean
function Ledger:is_empty()
  return self.first > self.last
end

--- The oldest report, which leaves the ledger.
---@return autopilot.fleet.Tenant tenant
---@return autopilot.Report report
function Ledger:take()
  local index = self.first
  local tenant, report = self.tenants[index], self.reports[index]
  self.tenants[index], self.reports[index] = nil, nil
  if index == self.last then
    self.first, self.last = 1, 0 -- so that the lists stay lists
  else
    self.first = index + 1
  end
  return tenant, report
end

---@param elapsed number seconds
---@return autopilot.fleet.Summary
function Ledger:sum_up(elapsed)
  return {
    total = self.total,
    ok = self.ok,
    failed = self.failed,
    known = self.known,
    by_outcome = self.by_outcome,
    callback_errors = self.callback_errors,
    elapsed = elapsed,
  }
end

return Ledger
