--- Reads HTTP-date, RFC 3339 timestamps and Retry-After; writes times for stores and for people.
--
-- The readers are strict: a text that the format does not allow gives nil, never a guess. (`curl_getdate` reads 30
-- February, and `CURLINFO_RETRY_AFTER` is 0 for "absent" and for "unreadable".) The system's locale and time zone have
-- no influence.

local floor = math.floor

local dates = {}

--- The longest wait that is read, in seconds: RFC 9111 section 1.2.2 gives this value to an overflow.
dates.longest_wait = 2 ^ 31

local months, weekdays = {}, {}
for name in ("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"):gmatch "%a+" do
  months[#months + 1] = name
  months[name] = #months
end
dates.months = months

-- From the day of 1 January 1970 on.
for name in ("Thursday Friday Saturday Sunday Monday Tuesday Wednesday"):gmatch "%a+" do
  weekdays[#weekdays + 1] = name
end

--- Days from 1 January 1970 to the first day of a month. Years are counted from March on, so that the leap
-- day is the last day of its year; from March on, five months always have 153 days.
local function month_begin(year, month)
  local number = year * 12 + month - 3
  local march_year = floor(number / 12)
  local leap_days = floor(march_year / 4) - floor(march_year / 100) + floor(march_year / 400)
  return 365 * march_year + leap_days + floor((153 * (number % 12) + 2) / 5) - 719468
end

--- Unix seconds and name of the day of a date and a time, given as numbers or digits; nil when there is no such day or
-- time of day. Second 60, a leap second, counts as second 0 of the next minute.
function dates.unix_time(year, month, day, hour, minute, second)
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  local first, following = month_begin(year, month), month_begin(year, month + 1)
  local is_day = month >= 1 and month <= 12 and day >= 1 and day <= following - first
  if not is_day or hour > 23 or minute > 59 or second > 60 then
    return nil
  end
  local days = first + day - 1
  return ((days * 24 + hour) * 60 + minute) * 60 + second + 0.0, weekdays[days % 7 + 1]
end

-- Seconds, with 13 leap days.
local fifty_years = 18263 * 86400

-- The date that was read last: many answers in the same second have the same date.
local last_text, last_seconds

--- Reads an HTTP-date (RFC 9110 section 5.6.7), with nothing but spaces and tabs around it:
--
--     Sun, 06 Nov 1994 08:49:37 GMT       the form in use
--     Sunday, 06-Nov-94 08:49:37 GMT      RFC 850, obsolete; the latest year at most 50 years after `now`
--     Sun Nov  6 08:49:37 1994            C's asctime, obsolete
--
-- A date with the wrong day of the week is refused: it could mean two days. That also saves a two-digit year from a
-- wrong local clock: a date some centuries off falls on another day of the week.
---@param text string? nil: there is no such header
---@param now number? Unix seconds, for the two-digit year only; default: the system's clock
---@return number? seconds Unix seconds; nil when the text is not an HTTP-date
function dates.read_http_date(text, now)
  if text == last_text then
    return last_seconds
  elseif type(text) ~= "string" then
    return nil
  end
  local weekday, day, gap, month, year, hour, minute, second =
    text:match "^[ \t]*(%a+), (%d%d)([ -])(%a%a%a)%3(%d+) (%d%d):(%d%d):(%d%d) GMT[ \t]*$"
  if not weekday then
    weekday, month, day, hour, minute, second, year =
      text:match "^[ \t]*(%a+) (%a%a%a) ([ %d]%d) (%d%d):(%d%d):(%d%d) (%d+)[ \t]*$"
  end
  local is_short = gap == "-"
  month = months[month]
  if not month or #year ~= (is_short and 2 or 4) then
    return nil
  end
  year = tonumber(year)
  local latest = is_short and (now or os.time()) + fifty_years or math.huge
  for candidate = is_short and 9900 + year or year, year, -100 do
    local seconds, name = dates.unix_time(candidate, month, day, hour, minute, second)
    if seconds and seconds <= latest then
      if weekday ~= (is_short and name or name:sub(1, 3)) then
        return nil
      elseif not is_short then
        last_text, last_seconds = text, seconds
      end
      return seconds
    end
  end
end

--- The number with these digits, and this fraction behind them: `.` and digits, or nothing; nil for another fraction. It
-- is read as one text without the point, which depends on the locale, and is rounded once: i386 would round a sum twice.
-- A double holds 15 digits exactly.
local function decimal(whole, fraction)
  local digits = fraction == "" and fraction or fraction:match "^%.(%d+)$"
  if digits then
    digits = digits:sub(1, 15)
    return tonumber(whole .. digits .. "e-" .. #digits)
  end
end

--- Seconds by which a zone is ahead of UTC: `Z`, or up to 23:59 with a sign. Nil when it cannot be read.
local function zone_offset(zone)
  local sign, hours, minutes = zone:gsub("^[Zz]$", "+00:00"):match "^([+-])(%d%d):(%d%d)$"
  if sign and tonumber(hours) <= 23 and tonumber(minutes) <= 59 then
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
  local year, month, day, hour, minute, second, fraction, zone =
    text:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt](%d%d):(%d%d):(%d%d)([.%d]*)(.*)$"
  local seconds = year and dates.unix_time(year, month, day, hour, minute, second)
  if not seconds then
    return nil
  end
  local offset, part = zone_offset(zone), decimal("0", fraction)
  if not offset or not part then
    return nil
  end
  local moment = seconds - offset
  return moment < 0 and moment + part or decimal(("%.0f"):format(moment), fraction)
end

--- Reads one value of Retry-After: digits with an optional fraction, or a date.
local function read_wait(text, now)
  local whole, fraction = (text:match "^[ \t]*([%d.]+)[ \t]*$" or ""):match "^(%d+)(.*)$"
  local moment = not whole and dates.read_http_date(text, now)
  local seconds = fraction == "" and tonumber(whole) or whole and decimal(whole, fraction)
  local wait = seconds or moment and moment - now
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

--- A time as an exact text, for values that other processes read: `1700000000.2147483648`. Nil for nil.
function dates.to_text(seconds)
  local whole = seconds and floor(seconds)
  return whole and ("%.0f.%.0f"):format(whole, floor((seconds - whole) * units))
end

--- The time in a text that `dates.to_text` made; nil for anything else.
function dates.of_text(text)
  local is_short = type(text) == "string" and #text <= 40
  local whole, digits = (is_short and text or ""):match "^(%d+)%.(%d+)$"
  local rest = tonumber(digits)
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
