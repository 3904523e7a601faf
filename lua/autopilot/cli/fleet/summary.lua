--- How the run of a fleet went: the number of tenants by outcome, and some of those that failed by name.

local text = require "autopilot.cli.text"

-- Failed tenants named for an outcome. A list of thousands would push everything else off the screen.
local most_names = 10

---@class autopilot.cli.FleetSummary
---@field package named table<string, integer> of `entries`, by outcome
---@field package entries table[] failed tenants that are told by name
local FleetSummary = {}
FleetSummary.__index = FleetSummary

---@return autopilot.cli.FleetSummary
function FleetSummary.new()
  return setmetatable({ named = {}, entries = {} }, FleetSummary)
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
  local outcome, hint = report.outcome or "failed", report.hint
  local named = self.named[outcome] or 0
  if not report.ok and outcome ~= "cancelled" and named < most_names then
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
---@param summary autopilot.fleet.Summary
---@param list { bad: integer, duplicates: integer } what was left out of the list
---@return string[] lines
function FleetSummary.outcomes(summary, list)
  local lines, names, counts = {}, {}, summary.by_outcome
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
    row(name == "ok" and "read" or name, counts[name]) -- a status that was read has no outcome
  end
  local known = summary.known > 0 and (", %s known from before"):format(text.count(summary.known))
  row("in all", summary.total, ("  in %s%s"):format(text.duration(summary.elapsed), known or ""))
  if list.bad > 0 then
    row("bad lines", list.bad)
  end
  if list.duplicates > 0 then
    row("duplicates", list.duplicates)
  end
  return lines
end

--- The tenants that failed, by outcome and hint: at most ten of an outcome by name.
---@param counts table<string, integer> all reports by outcome
---@return string[] lines
function FleetSummary:failures(counts)
  local lines, entries = {}, self.entries
  table.sort(entries, function(a, b)
    return a.key < b.key
  end)
  for index, entry in ipairs(entries) do
    local before, following = entries[index - 1] or {}, entries[index + 1] or {}
    lines[#lines + 1] = entry.title ~= before.title and entry.title or nil
    lines[#lines + 1] = entry.line
    local unnamed = counts[entry.outcome] - self.named[entry.outcome]
    if unnamed > 0 and entry.outcome ~= following.outcome then
      local more = "  and %s more: --json prints a report of each"
      lines[#lines + 1] = more:format(text.count(unnamed))
    end
  end
  local cancelled = counts.cancelled
  if cancelled then
    lines[#lines + 1] = ("cancelled: %s not begun with, and nothing was sent"):format(
      cancelled == 1 and "1 tenant was" or text.count(cancelled) .. " tenants were"
    )
  end
  return lines
end

return FleetSummary
