--- What the progress line of a fleet says. How it is drawn is in `cli/progress`.

local time_text = require "autopilot.cli.time_text"

local fleet_progress = {}

-- Columns of the narrowest terminal with a bar, and of the longest bar.
local narrowest, longest_bar = 45, 30

---@class autopilot.cli.FleetFacts
---@field done integer
---@field failed integer
---@field in_flight integer
---@field asleep integer
---@field total integer? nil: not known yet
---@field is_exact boolean? the total is not an estimate
---@field elapsed number seconds
---@field recalled integer? of those done, how many without asking the service

--- 12345 as `12,345`.
---@param count integer
---@return string
function fleet_progress.grouped(count)
  local digits = ("%d"):format(count)
  return (digits:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
end

local function bar(part, columns)
  local full = math.floor(part * columns + 0.5)
  return "[" .. ("#"):rep(full) .. ("-"):rep(columns - full) .. "]"
end

--- How fast it goes, and how long the rest takes at that pace; nil when too little is known.
local function pace(facts)
  local asked = facts.done - (facts.recalled or 0)
  if facts.elapsed < 1 or asked < 1 then
    return nil
  end
  local rate = asked / facts.elapsed
  local left = facts.total and math.max(0, facts.total - facts.done) / rate
  return rate, left
end

--- What there is to say behind the count, from the most important on.
local function remarks(facts)
  local grouped = fleet_progress.grouped
  local rate, left = pace(facts)
  local parts = { grouped(facts.failed) .. " failed" }
  parts[#parts + 1] = left and time_text.duration(left) .. " left" or nil
  parts[#parts + 1] = grouped(facts.in_flight) .. " in flight"
  parts[#parts + 1] = rate and (rate < 10 and "%.1f/s" or "%.0f/s"):format(rate) or nil
  parts[#parts + 1] = facts.asleep > 0 and grouped(facts.asleep) .. " waiting" or nil
  return parts
end

--- The line for these facts, in so many columns at most.
---@param facts autopilot.cli.FleetFacts
---@param width integer columns
---@return string
function fleet_progress.line(facts, width)
  local grouped = fleet_progress.grouped
  local count = grouped(facts.done)
  if facts.total then
    count = ("%s/%s%s"):format(count, facts.is_exact and "" or "~", grouped(facts.total))
  end
  local text = count
  if facts.total and facts.total > 0 and width >= narrowest then
    -- As long as the terminal says, so that it keeps its place.
    local columns = math.min(longest_bar, math.floor(width / 4))
    text = bar(math.min(1, facts.done / facts.total), columns) .. " " .. count
  end
  for _, part in ipairs(remarks(facts)) do
    if #text + 2 + #part > width then
      break
    end
    text = text .. ", " .. part
  end
  return text:sub(1, math.max(0, width))
end

return fleet_progress
