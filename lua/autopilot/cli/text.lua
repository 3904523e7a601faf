--- Times, durations, counts and small tables as people read them; and times as people type them.

local text = {}

-- 2020, before this library was written: a clock that shows an earlier time was never set.
local earliest_now = 1577836800

local unit_seconds = { s = 1, m = 60, h = 3600, d = 86400 }

--- The forms of a time, for a message about a wrong one.
text.time_forms = "Unix seconds, a time like 2026-07-23T11:23:15Z, now or -10m"

--- A time in ISO 8601, UTC, whole seconds: `2026-07-23T11:23:15Z`. Unix seconds where the system has no date
-- for it: one of 32 bits has none after January 2038.
---@param seconds number Unix time
---@return string
function text.time(seconds)
  local ok, date = pcall(os.date, "!%Y-%m-%dT%H:%M:%SZ", math.floor(seconds))
  return ok and date or ("%.0f"):format(seconds)
end

--- Reads a time: Unix seconds, ISO 8601 with an offset, `now`, or a time ago (`-10m`).
---@param typed string
---@param now number Unix seconds
---@return number? seconds Unix time; nil where the text is no time
function text.read_time(typed, now)
  if typed == "now" then
    return now
  elseif typed:match "^%d+$" or typed:match "^%d+%.%d+$" then
    return #typed <= 20 and tonumber(typed) or nil
  end
  local count, unit = typed:match "^%-(%d+)([smhd])$"
  if count then
    return #count <= 9 and now - tonumber(count) * unit_seconds[unit] or nil
  end
  return require("autopilot.base.dates").read_timestamp(typed)
end

--- Why a sync since this time cannot be waited for, as the end of a sentence; nil when it can.
---@param since number Unix seconds
---@param now number Unix seconds, by this machine's clock
---@return string? complaint
function text.since_complaint(since, now)
  if now < earliest_now then
    return "cannot be used: this machine's clock is wrong, it shows " .. text.time(now)
  end
  return since > now and "must not be in the future" or nil
end

local units = { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } }

--- A duration in its two largest units, rounded down: `3 d 4 h`, `4 min 3 s`, `42 s`.
---@param seconds number at least 0
---@return string
function text.duration(seconds)
  local rest, parts = math.floor(seconds), {}
  for index, unit in ipairs(units) do
    local count = math.floor(rest / unit[1])
    rest = rest - count * unit[1]
    if count > 0 or (index == #units and #parts == 0) then
      parts[#parts + 1] = ("%d %s"):format(count, unit[2])
    end
    if parts[2] or (parts[1] and count == 0) then
      break
    end
  end
  return table.concat(parts, " ")
end

--- A count with its digits in groups: 12345 as `12,345`.
---@param count integer
---@return string
function text.count(count)
  local digits = ("%d"):format(count)
  return (digits:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
end

--- Appends a line of a small table: a title, and its value in the second column.
---@param lines string[]
---@param title string
---@param value string? nil: no line is added
function text.add_row(lines, title, value)
  if value then
    lines[#lines + 1] = ("%-13s %s"):format(title, value)
  end
end

return text
