--- How the run of a fleet went: the number of tenants by outcome, and some of those that failed by name.

local text = require "autopilot.cli.text"

-- Failed tenants named for an outcome. A list of thousands would push everything else off the screen.
local most_names = 10

---@class autopilot.cli.FleetSummary
---@field total integer reports
---@field failed integer
---@field recalled integer known from an earlier run, and not asked for again
---@field package counts table<string, integer> tenants by outcome
---@field package named table<string, integer> failed tenants that are in a group, by outcome
---@field package groups table failed tenants with the same outcome and hint
local FleetSummary = {}
FleetSummary.__index = FleetSummary

---@return autopilot.cli.FleetSummary
function FleetSummary.new()
  return setmetatable(
    { total = 0, failed = 0, recalled = 0, counts = {}, named = {}, groups = {} },
    FleetSummary
  )
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
  local outcome = report.outcome or (report.ok and "read") or "failed"
  self.total = self.total + 1
  self.recalled = self.recalled + (report.recalled and 1 or 0)
  self.counts[outcome] = (self.counts[outcome] or 0) + 1
  if report.ok then
    return
  end
  self.failed = self.failed + 1
  local named = self.named[outcome] or 0
  if outcome == "cancelled" or named >= most_names then
    return
  end
  self.named[outcome] = named + 1
  local key = outcome .. "\n" .. (report.hint or "")
  local group = self.groups[key] or { outcome = outcome, hint = report.hint }
  self.groups[key] = group
  group[#group + 1] = { tenant = tenant.tenant, detail = detail_of(report) }
end

--- The outcomes, the most frequent first.
local function ranking(counts)
  local names = {}
  for name in pairs(counts) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b)
    if counts[a] ~= counts[b] then
      return counts[a] > counts[b]
    end
    return a < b
  end)
  return names
end

--- The table of outcomes.
---@param list { bad: integer, duplicates: integer } what was left out of the list
---@param elapsed number seconds
---@return string[] lines
function FleetSummary:outcomes(list, elapsed)
  local lines = {}
  local function row(name, count, remark)
    local line = ("%-16s %9s"):format(name, text.count(count))
    lines[#lines + 1] = remark and line .. "  " .. remark or line
  end
  for _, name in ipairs(ranking(self.counts)) do
    row(name, self.counts[name])
  end
  local known = self.recalled > 0 and (", %s known from before"):format(text.count(self.recalled))
  row("in all", self.total, ("in %s%s"):format(text.duration(elapsed), known or ""))
  if list.bad > 0 then
    row("bad lines", list.bad)
  end
  if list.duplicates > 0 then
    row("duplicates", list.duplicates)
  end
  return lines
end

--- Adds a group's hint, and its tenants in the order of their names.
local function add_group(lines, group)
  lines[#lines + 1] = group.outcome .. (group.hint and ": " .. group.hint or "")
  table.sort(group, function(a, b)
    return a.tenant < b.tenant
  end)
  for _, entry in ipairs(group) do
    local detail = entry.detail ~= "" and "  " .. entry.detail or ""
    lines[#lines + 1] = ("  %s%s"):format(entry.tenant, detail)
  end
end

--- The tenants that failed, by outcome and hint: at most ten of an outcome by name.
---@return string[] lines
function FleetSummary:failures()
  local lines, keys = {}, {}
  for key in pairs(self.groups) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  for index, key in ipairs(keys) do
    local outcome = self.groups[key].outcome
    add_group(lines, self.groups[key])
    local following = self.groups[keys[index + 1]]
    local unnamed = self.counts[outcome] - self.named[outcome]
    if unnamed > 0 and not (following and following.outcome == outcome) then
      lines[#lines + 1] = ("  and %s more: --json prints a report of each"):format(
        text.count(unnamed)
      )
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
