--- The results of a fleet's run: the number of tenants by outcome, and the names of those that failed.

local text = require "autopilot.cli.text"

-- Failed tenants named for an outcome. A list of thousands would push everything else off the screen.
local most_names = 10

---@class autopilot.cli.FleetSummary
---@field would_post integer tenants whose dry run says that a request would be sent
---@field package keeps_all boolean? every tenant that failed is kept, for a report in a file
---@field package failed table<string, integer> how many tenants failed, by outcome
---@field package by_title table<string, autopilot.cli.FailedTenants>
local FleetSummary = {}
FleetSummary.__index = FleetSummary

---@class autopilot.cli.FailedTenants: { [integer]: autopilot.cli.FailedTenant } those with the same outcome and hint
---@field title string the outcome, and the hint if there is one
---@field outcome string
---@field hint string?

---@class autopilot.cli.FailedTenant
---@field tenant string
---@field again string? in how much time to ask again
---@field retry_at number? the same in Unix seconds
---@field detail string? what the report tells besides
---@field package number integer among those with its outcome, in the order in which they failed

function FleetSummary.new(keeps_all)
  local self = { keeps_all = keeps_all, would_post = 0, failed = {}, by_title = {} }
  return setmetatable(self, FleetSummary)
end

function FleetSummary:add(tenant, report)
  self.would_post = self.would_post + (report.would_post and 1 or 0)
  if report.ok then
    return
  end
  local outcome, hint = report.outcome or "failed", report.hint
  local number = (self.failed[outcome] or 0) + 1
  self.failed[outcome] = number
  if self.keeps_all or (outcome ~= "cancelled" and number <= most_names) then
    local title = outcome .. (hint and ": " .. hint or "")
    local group = self.by_title[title] or { title = title, outcome = outcome, hint = hint }
    local failure, network, seconds = report.error or {}, report.network, report.retry_after
    local details = { failure.message or failure.code }
    details[#details + 1] = network and ("%s: %s"):format(network.stage, network.message)
    group[#group + 1] = {
      tenant = tenant.tenant,
      again = seconds and ("again in %s"):format(text.duration(math.ceil(seconds))),
      retry_at = report.retry_at,
      detail = details[1] and table.concat(details, ", "),
      number = number,
    }
    self.by_title[title] = group
  end
end

local function sort_by(list, name)
  table.sort(list, function(a, b)
    return a[name] < b[name]
  end)
end

--- The tenants that failed, grouped by outcome and hint.
---@return autopilot.cli.FailedTenants[]
function FleetSummary:groups()
  local groups = {}
  for _, group in pairs(self.by_title) do
    sort_by(group, "tenant")
    groups[#groups + 1] = group
  end
  sort_by(groups, "title")
  return groups
end

--- The outcomes and the number of tenants with each, the most frequent first.
---@return { [1]: string, [2]: integer }[]
function FleetSummary.by_frequency(counts)
  local rows = {}
  for name, count in pairs(counts) do
    rows[#rows + 1] = { name == "ok" and "read" or name, count } -- a status that was read has no outcome
  end
  table.sort(rows, function(a, b)
    if a[2] ~= b[2] then
      return a[2] > b[2]
    end
    return a[1] < b[1]
  end)
  return rows
end

--- The table of outcomes.
---@param summary autopilot.fleet.Summary
---@param list { bad: integer, duplicates: integer } what was left out of the list
---@param would_post integer? of a dry run: tenants for which a request would be sent
function FleetSummary.outcomes(summary, list, would_post)
  local rows, lines = FleetSummary.by_frequency(summary.by_outcome), {}
  local known = summary.known > 0 and (", %s known from before"):format(text.count(summary.known))
  local elapsed = ("  in %s%s"):format(text.duration(summary.elapsed), known or "")
  rows[#rows + 1] = { "in all", summary.total, elapsed }
  rows[#rows + 1] = would_post and { "would send", would_post } or nil
  rows[#rows + 1] = list.bad > 0 and { "bad lines", list.bad } or nil
  rows[#rows + 1] = list.duplicates > 0 and { "duplicates", list.duplicates } or nil
  for index, row in ipairs(rows) do
    lines[index] = ("%-16s %9s%s"):format(row[1], text.count(row[2]), row[3] or "")
  end
  return lines
end

--- The tenants that failed, by outcome and hint: at most ten of an outcome by name.
function FleetSummary:failures()
  local lines, groups = {}, self:groups()
  for index, group in ipairs(groups) do
    local outcome, following = group.outcome, groups[index + 1] or {}
    if outcome ~= "cancelled" then
      lines[#lines + 1] = group.title
      for _, entry in ipairs(group) do
        local facts = { entry.again or entry.detail, entry.again and entry.detail }
        local remark = facts[1] and "  " .. table.concat(facts, ", ") or ""
        local is_named = entry.number <= most_names
        lines[#lines + 1] = is_named and ("  %s%s"):format(entry.tenant, remark) or nil
      end
      local unnamed = self.failed[outcome] - most_names
      if unnamed > 0 and outcome ~= following.outcome then
        local more = self.keeps_all and "  and %s more, which the report names"
          or "  and %s more: --report names them, and --json prints a report of each"
        lines[#lines + 1] = more:format(text.count(unnamed))
      end
    end
  end
  local cancelled = self.failed.cancelled
  if cancelled then
    lines[#lines + 1] = ("cancelled: %s not begun, and nothing was sent"):format(
      cancelled == 1 and "1 tenant was" or text.count(cancelled) .. " tenants were"
    )
  end
  return lines
end

return FleetSummary
