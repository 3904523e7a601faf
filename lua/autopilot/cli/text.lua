--- Times, durations, counts and small tables for people to read; and times that people type.

local dates = require "autopilot.base.dates"

local text = {}

-- 2020, before this library was written: a clock that shows an earlier time was never set.
local earliest_now = 1577836800

local unit_seconds = { s = 1, m = 60, h = 3600, d = 86400 }

--- For a message about a wrong time.
text.time_forms =
  "Unix seconds, a time with Z or an offset (2026-07-23T13:23:15+02:00), now, or -10s or -10m"

text.time, text.duration = dates.show, dates.duration

--- Reads a duration as seconds: a decimal number, perhaps with a unit (`90`, `1.5h`). Nil for anything else.
function text.read_duration(typed)
  local number, unit = typed:match "^([%d.]+)(%l?)$"
  local factor = unit == "" and 1 or unit_seconds[unit]
  -- tonumber alone would also take 0x10, 1e3 and, in LuaJIT, inf and nan.
  local is_decimal = factor and #number <= 20 and number:match "^%d*%.?%d*$"
  local count = is_decimal and tonumber(number)
  return count and count * factor or nil
end

--- Reads a time as Unix seconds: a number, ISO 8601 with an offset, `now`, or a time ago (`-10m`). Nil for anything
-- else.
function text.read_time(typed, now)
  if typed == "now" then
    return now
  elseif typed:match "^%d+$" or typed:match "^%d+%.%d+$" then
    return #typed <= 20 and tonumber(typed) or nil
  end
  local ago = typed:match "^%-(.*%l)$"
  if ago then
    local seconds = text.read_duration(ago)
    return seconds and now - seconds
  end
  return dates.read_timestamp(typed)
end

--- Reads the time since when a sync counts. All times are Unix seconds.
---@param typed string what `read_time` can read
---@param from number the time that `now` means in `typed`, and that `-10m` counts back from
---@param now number by this machine's clock
---@return number? since
---@return string? complaint why that time is refused, as the end of a sentence
function text.read_since(typed, from, now)
  local since = text.read_time(typed, from)
  if now < earliest_now then
    return nil, "cannot be used: this machine's clock is wrong, it shows " .. text.time(now)
  elseif since < 0 then
    return nil, "must not be before 1970"
  elseif since > now then
    local is_far = since > 100 * now
    return nil, "must not be in the future" .. (is_far and ": give seconds, not milliseconds" or "")
  end
  return since
end

--- A whole number with its digits in groups: 12345 as `12,345`.
function text.count(count)
  local digits = ("%d"):format(count)
  return (digits:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
end

--- The lines of a small table. A row is a title and its value; without a value it is left out.
function text.rows(rows)
  local lines = {}
  for _, row in ipairs(rows) do
    lines[#lines + 1] = row[2] and ("%-13s %s"):format(row[1], row[2]) or nil
  end
  return lines
end

return text
