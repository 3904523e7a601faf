--- How the run of a fleet went: the number of tenants by outcome, and some of those that failed by name.

local text = require "autopilot.cli.text"

-- Failed tenants named for an outcome. A list of thousands would push everything else off the screen.
local most_names = 10

---@class autopilot.cli.FleetSummary
---@field total integer reports
---@field failed integer
---@field recalled integer known from an earlier run, and not asked for again
---@field package counts table<string, integer> tenants by outcome
---@field package named table<string, integer> of `entries`, by outcome
---@field package entries table[] failed tenants that are told by name
local FleetSummary = {}
FleetSummary.__index = FleetSummary

---@return autopilot.cli.FleetSummary
function FleetSummary.new()
  local self = { total = 0, failed = 0, recalled = 0, counts = {}, named = {}, entries = {} }
  return setmetatable(self, FleetSummary)
end

--- What a report tells besides its outcome's hint, in one line.
local function detail_of(report)
  local parts = {}
  if report.retry_after then
    parts[1] = ("again in %s"):format(text.duration(math.ceil(report.retry_after)))
  end
  local service_error = report.error or {}
  parts[#parts + 1] = service_error.message or service_error.code
  if report.network then
    parts[#parts + 1] = ("%s: %s"):format(report.network.stage, report.network.message)
  end
  return table.concat(parts, ", ")
end

--- Takes one report.
---@param tenant autopilot.cli.Tenant
---@param report autopilot.Report
function FleetSummary:add(tenant, report)
  local outcome, hint = report.outcome or (report.ok and "read") or "failed", report.hint
  self.total = self.total + 1
  self.recalled = self.recalled + (report.recalled and 1 or 0)
  self.counts[outcome] = (self.counts[outcome] or 0) + 1
  if report.ok then
    return
  end
  self.failed = self.failed + 1
  local named = self.named[outcome] or 0
  if outcome ~= "cancelled" and named < most_names then
    self.named[outcome] = named + 1
    local detail = detail_of(report)
    table.insert(self.entries, {
      key = ("%s\n%s\n%s"):format(outcome, hint or "", tenant.tenant),
      outcome = outcome,
      title = outcome .. (hint and ": " .. hint or ""),
      line = ("  %s%s"):format(tenant.tenant, detail ~= "" and "  " .. detail or ""),
    })
  end
end

--- The table of outcomes, the most frequent first.
---@param list { bad: integer, duplicates: integer } what was left out of the list
---@param elapsed number seconds
---@return string[] lines
function FleetSummary:outcomes(list, elapsed)
  local lines, names, counts = {}, {}, self.counts
  local function row(name, count, remark)
    lines[#lines + 1] = ("%-16s %9s%s"):format(name, text.count(count), remark or "")
  end
  for name in pairs(counts) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b)
    if counts[a] ~= counts[b] then
      return counts[a] > counts[b]
    end
    return a < b
  end)
  for _, name in ipairs(names) do
    row(name, counts[name])
  end
  local known = self.recalled > 0 and (", %s known from before"):format(text.count(self.recalled))
  row("in all", self.total, ("  in %s%s"):format(text.duration(elapsed), known or ""))
  if list.bad > 0 then
    row("bad lines", list.bad)
  end
  if list.duplicates > 0 then
    row("duplicates", list.duplicates)
  end
  return lines
end

--- The tenants that failed, by outcome and hint: at most ten of an outcome by name.
---@return string[] lines
function FleetSummary:failures()
  local lines, entries = {}, self.entries
  table.sort(entries, function(a, b)
    return a.key < b.key
  end)
  for index, entry in ipairs(entries) do
    local before, following = entries[index - 1] or {}, entries[index + 1] or {}
    lines[#lines + 1] = entry.title ~= before.title and entry.title or nil
    lines[#lines + 1] = entry.line
    local unnamed = self.counts[entry.outcome] - self.named[entry.outcome]
    if unnamed > 0 and entry.outcome ~= following.outcome then
      local more = "  and %s more: --json prints a report of each"
      lines[#lines + 1] = more:format(text.count(unnamed))
    end
  end
  local cancelled = self.counts.cancelled
  if cancelled then
    lines[#lines + 1] = ("cancelled: %s not begun with, and nothing was sent"):format(
      cancelled == 1 and "1 tenant was" or text.count(cancelled) .. " tenants were"
    )
  end
  return lines
end

return FleetSummary
