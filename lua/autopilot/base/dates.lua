--- Reads HTTP-date, RFC 3339 timestamps and Retry-After; writes times for stores and for people.
--
-- The readers are strict, like the one of `autopilot.base.http_date`. (`CURLINFO_RETRY_AFTER` is 0 both for
-- "absent" and for "unreadable".)

local http_date = require "autopilot.base.http_date"

local floor = math.floor

local dates = {}

--- The longest wait that is read, in seconds: RFC 9111 section 1.2.2 gives this value to an overflow.
dates.longest_wait = 2 ^ 31

--- The number with these digits before and after the decimal point. It is read as one text without the point, which
-- depends on the locale, and is rounded once: i386 would round a sum twice. A double holds 15 digits exactly.
local function decimal(whole, digits)
  digits = digits:sub(1, 15)
  return tonumber(whole .. digits .. "e-" .. #digits)
end

--- Seconds by which a zone is ahead of UTC: `Z`, or up to 23:59 with a sign. Nil when it cannot be read.
local function zone_offset(zone)
  if zone:find "^[Zz]$" then
    return 0
  end
  local sign, hours, minutes = zone:match "^([+-])(%d%d):(%d%d)$"
  hours, minutes = tonumber(hours), tonumber(minutes)
  if sign and hours <= 23 and minutes <= 59 then
    return (sign == "-" and -60 or 60) * (hours * 60 + minutes)
  end
end

--- Reads a time as Microsoft Graph writes it into JSON: `2026-07-23T11:23:15.0768271Z`, RFC 3339. T and Z
-- may be in lower case. A text without a zone is refused.
---@param text any a member of a JSON object
---@return number? seconds Unix seconds, negative before 1970; nil when the text is no such timestamp
function dates.read_timestamp(text)
  if type(text) ~= "string" then
    return nil
  end
  local year, month, day, hour, minute, second, rest =
    text:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt](%d%d):(%d%d):(%d%d)(.*)$"
  local digits, zone = (rest or ""):match "^%.(%d+)(.*)$"
  local seconds = year and http_date.unix_time(year, month, day, hour, minute, second)
  local offset = seconds and zone_offset(zone or rest)
  local moment = offset and seconds - offset
  if not moment or not digits then
    return moment
  end
  return moment < 0 and moment + decimal("0", digits) or decimal(("%.0f"):format(moment), digits)
end

--- Reads one value of Retry-After: digits with an optional fraction, or a date.
local function read_wait(text, now)
  local whole, digits = text:match "^[ \t]*(%d+)%.?(%d*)[ \t]*$"
  if whole and (digits ~= "" or not text:find(".", 1, true)) then
    return digits == "" and tonumber(whole) or decimal(whole, digits)
  end
  local moment = http_date.read(text, now)
  local wait = moment and moment - now
  -- NaN, where `now` is NaN: the wait is unknown, not 0.
  return wait and wait == wait and math.max(0, wait) or nil
end

--- Reads Retry-After: digits, digits with a fraction ("2.128", which Graph sends and the RFC does not
-- know), or an HTTP-date; a date that has passed means 0.
--
-- Repeated headers arrive joined by commas: the longest wait is taken, and empty values are ignored. If one
-- value cannot be read, the result is nil: the cut date "Sun, 06" must not become six seconds.
---@param text string? nil: there is no such header
---@param now number? Unix seconds, for dates only; default: the system's clock
---@return number? seconds from 0 to `longest_wait`; nil when it cannot be read
function dates.read_retry_after(text, now)
  if type(text) ~= "string" then
    return nil
  end
  now = now or os.time()
  local longest
  local first = text:find "[^, \t]"
  while first do
    local comma = text:find(",", first, true) or #text + 1
    local wait = read_wait(text:sub(first, comma - 1), now)
    if not wait then -- a date has a comma itself
      comma = text:find(",", comma + 1, true) or #text + 1
      wait = read_wait(text:sub(first, comma - 1), now)
    end
    if not wait then
      return nil
    end
    longest = math.max(longest or 0, wait)
    first = text:find("[^, \t]", comma)
  end
  return longest and math.min(longest, dates.longest_wait)
end

-- Fractions of a second are written as a whole number of these: exactly, and without a decimal point that
-- depends on the locale.
local units = 2 ^ 32

--- A time as an exact text, for values that other processes read: `1700000000.2147483648`.
---@param seconds number?
---@return string? text nil for nil
function dates.to_text(seconds)
  local whole = seconds and floor(seconds)
  return whole and ("%.0f.%.0f"):format(whole, floor((seconds - whole) * units))
end

--- The time in a text that `dates.to_text` made; nil for anything else.
---@param text any
---@return number? seconds
function dates.of_text(text)
  local whole, rest = nil, nil
  if type(text) == "string" and #text <= 40 then
    whole, rest = text:match "^(%d+)%.(%d+)$"
  end
  rest = tonumber(rest)
  return rest and rest < units and tonumber(whole) + rest / units or nil
end

-- ---- For people ----------------------------------------------------------------------------------------

--- Unix seconds in ISO 8601, UTC, whole seconds: `2026-07-23T11:23:15Z`. The number where the system has no date
-- for it: one of 32 bits has none after January 2038, and before Lua 5.3 gives a wrong one.
function dates.show(seconds)
  local whole = floor(seconds)
  local ok, date = pcall(os.date, "!%Y-%m-%dT%H:%M:%SZ", whole)
  return ok and dates.read_timestamp(date) == whole and date or ("%.0f"):format(seconds)
end

local duration_units = { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } }

--- Seconds, at least 0, in the two largest units, rounded down: `3 d 4 h`, `4 min 3 s`, `42 s`.
function dates.duration(seconds)
  local rest, largest = math.floor(seconds), nil
  for _, unit in ipairs(duration_units) do
    local count = math.floor(rest / unit[1])
    local part = count > 0 and ("%d %s"):format(count, unit[2])
    if largest then
      return part and largest .. " " .. part or largest
    end
    largest, rest = part, rest - count * unit[1]
  end
  return largest or "0 s"
end

return dates
