--- Reads and writes dates and waits: HTTP-date, RFC 3339 timestamps and Retry-After, as Unix time.
--
-- The readers are strict: a text that the format does not allow gives nil, never a guess. (`curl_getdate`
-- reads 30 February, and `CURLINFO_RETRY_AFTER` is 0 both for "absent" and for "unreadable".) All dates are
-- of the Gregorian calendar and in UTC; the system's locale and time zone have no influence.

local floor = math.floor

local dates = {}

--- The longest wait that is read, in seconds: RFC 9111 section 1.2.2 gives this value to an overflow.
dates.longest_wait = 2 ^ 31

local month_names =
  { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }
local month_lengths = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local months = {}
for number, name in ipairs(month_names) do
  months[name] = number
end
local weekday_names, weekdays, long_weekdays = {}, {}, {}
for name in ("Sunday Monday Tuesday Wednesday Thursday Friday Saturday"):gmatch "%a+" do
  local number, short = #weekday_names, name:sub(1, 3) -- 0 is Sunday
  weekday_names[number + 1] = short
  weekdays[short], long_weekdays[name] = number, number
end

-- ---- The calendar -------------------------------------------------------------------------------

-- The days from 1 March of the year 0 to 1 January 1970. Years are counted from 1 March on, so that the leap
-- day is the last day of its year.
local days_before_1970 = 719468

--- Days since 1 January 1970, negative before it. 29 February of a common year counts as 1 March.
local function days_since_1970(year, month, day)
  local march_year = month > 2 and year or year - 1
  local leap_days = floor(march_year / 4) - floor(march_year / 100) + floor(march_year / 400)
  -- From March on, five months always have 153 days.
  local day_of_year = floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  return 365 * march_year + leap_days + day_of_year - days_before_1970
end

local function is_leap_year(year)
  return year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
end

--- Unix seconds and day of the week (0 is Sunday) of a date and a time, given as digits; nil when there is
-- no such day or time of day. Second 60, a leap second, counts as second 0 of the next minute.
local function unix_time(year, month, day, hour, minute, second)
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  local length = month_lengths[month]
  if not length or hour > 23 or minute > 59 or second > 60 then
    return nil
  elseif month == 2 and is_leap_year(year) then
    length = 29
  end
  if day < 1 or day > length then
    return nil
  end
  local days = days_since_1970(year, month, day)
  return ((days * 24 + hour) * 60 + minute) * 60 + second + 0.0, (days + 4) % 7
end

-- ---- HTTP-date (RFC 9110 section 5.6.7) ---------------------------------------------------------

--- The text without spaces and tabs around it.
local function trim(text)
  local first, last = text:find "[^ \t]" or #text + 1, #text
  while last >= first and text:find("^[ \t]", last) do
    last = last - 1
  end
  return text:sub(first, last)
end

--- The latest year with these last two digits in which the date is at most 50 years after `now`
-- (RFC 9110 section 5.6.7); nil when there is none.
local function complete_year(digits, month, day, hour, minute, second, now)
  local time_of_day = (hour * 60 + minute) * 60 + second
  for year = 9900 + digits, 0, -100 do
    if days_since_1970(year - 50, month, day) * 86400 + time_of_day <= now then
      return year
    end
  end
end

local function two_digit_date(weekday, day, month, year, hour, minute, second, now)
  month = months[month]
  if not month then
    return nil
  end
  year = complete_year(tonumber(year), month, day, hour, minute, second, now)
  if year then
    return long_weekdays[weekday], unix_time(year, month, day, hour, minute, second)
  end
end

--- Returns the day of the week that the text names, Unix seconds, and the day of the week of that date.
local function read_http_date(text, now)
  local weekday, day, month, year, hour, minute, second =
    text:match "^(%a%a%a), (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$"
  if not weekday then
    weekday, month, day, hour, minute, second, year =
      text:match "^(%a%a%a) (%a%a%a) ([ %d]%d) (%d%d):(%d%d):(%d%d) (%d%d%d%d)$"
  end
  if weekday then
    return weekdays[weekday], unix_time(year, months[month], day, hour, minute, second)
  end
  weekday, day, month, year, hour, minute, second =
    text:match "^(%a+), (%d%d)%-(%a%a%a)%-(%d%d) (%d%d):(%d%d):(%d%d) GMT$"
  if weekday then
    return two_digit_date(weekday, day, month, year, hour, minute, second, now)
  end
end

--- Reads the value of `Date`, `Retry-After` or `Sunset`. Exactly the three forms of RFC 9110 section 5.6.7
-- are read, with nothing but spaces and tabs around them:
--
--     Sun, 06 Nov 1994 08:49:37 GMT       the one in use
--     Sunday, 06-Nov-94 08:49:37 GMT      RFC 850, obsolete
--     Sun Nov  6 08:49:37 1994            C's asctime, obsolete
--
-- A day of the week that is not that date's is refused: such a text names two days, and there is no
-- telling which was meant. It also saves a two-digit year from a wrong local clock: one, two or three
-- centuries off, a date never falls on the same day of the week.
---@param text string? nil: there is no such header
---@param now number? Unix seconds, for the two-digit year only; default: the system's clock
---@return number? seconds Unix seconds; nil when it is no HTTP-date
function dates.read_http_date(text, now)
  if type(text) ~= "string" then
    return nil
  end
  local named, seconds, weekday = read_http_date(trim(text), now or os.time())
  return named and named == weekday and seconds or nil
end

-- ---- Timestamps (RFC 3339) ----------------------------------------------------------------------

--- A number whose whole part is digits, too. It is read as one text, which does not depend on the decimal
-- point of the locale, and is rounded once: i386 would round a sum twice. A double holds 15 digits exactly.
local function decimal(whole, digits)
  digits = digits:sub(1, 15)
  return tonumber(whole .. digits .. "e-" .. #digits)
end

--- Seconds by which a zone is ahead of UTC: `Z`, or up to 23:59 with a sign. Nil when it cannot be read.
local function zone_offset(zone)
  if zone == "Z" or zone == "z" then
    return 0
  end
  local sign, hours, minutes = zone:match "^([+-])(%d%d):(%d%d)$"
  hours, minutes = tonumber(hours), tonumber(minutes)
  if not sign or hours > 23 or minutes > 59 then
    return nil
  end
  return (sign == "-" and -60 or 60) * (hours * 60 + minutes)
end

--- Reads a time as Microsoft Graph writes it into JSON: `2026-07-23T11:23:15.0768271Z`, RFC 3339. T and Z
-- may be in lower case. A text without a zone is refused.
---@param text any a member of a JSON object
---@return number? seconds Unix seconds, negative before 1970; nil when it is not such a time
function dates.read_timestamp(text)
  if type(text) ~= "string" then
    return nil
  end
  local year, month, day, hour, minute, second, rest =
    text:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt](%d%d):(%d%d):(%d%d)(.*)$"
  if not year then
    return nil
  end
  local digits, zone = rest:match "^%.(%d+)(.*)$"
  local seconds = unix_time(year, month, day, hour, minute, second)
  local offset = zone_offset(zone or rest)
  if not seconds or not offset then
    return nil
  end
  local moment = seconds - offset
  if not digits then
    return moment
  end
  return moment < 0 and moment + decimal("0", digits) or decimal(("%.0f"):format(moment), digits)
end

-- ---- Retry-After (RFC 9110 section 10.2.3) ------------------------------------------------------

--- Reads one value of Retry-After: digits with an optional fraction, or a date.
local function read_wait(text, now)
  text = trim(text)
  local whole, digits = text:match "^(%d+)%.?(%d*)$"
  if whole and (digits ~= "" or not text:find(".", 1, true)) then
    return digits == "" and tonumber(whole) or decimal(whole, digits)
  end
  local moment = dates.read_http_date(text, now)
  local wait = moment and moment - now
  -- NaN, where `now` is NaN: the wait is unknown, not 0.
  return wait and wait == wait and math.max(0, wait) or nil
end

--- Reads Retry-After: digits, digits with a fraction ("2.128", which Graph sends and the RFC does not
-- know), or an HTTP-date; a date that has passed means 0.
--
-- Repeated headers arrive joined by commas: the longest wait is taken, and empty values are ignored. Where
-- one value cannot be read, none is: the cut date "Sun, 06" must not become six seconds.
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

-- ---- Writing ------------------------------------------------------------------------------------

--- Year, month and day of a day counted from 1 January 1970.
local function date_of(days)
  local shifted = days + days_before_1970
  local era = floor(shifted / 146097) -- the calendar repeats after 400 years
  local day_of_era = shifted - era * 146097
  local leap_days = floor(day_of_era / 1460)
    - floor(day_of_era / 36524)
    + floor(day_of_era / 146096)
  local year_of_era = floor((day_of_era - leap_days) / 365)
  local first_day = 365 * year_of_era + floor(year_of_era / 4) - floor(year_of_era / 100)
  local day_of_year = day_of_era - first_day
  local march_month = floor((5 * day_of_year + 2) / 153) -- 0 is March
  local month = march_month < 10 and march_month + 3 or march_month - 9
  local year = year_of_era + 400 * era + (march_month < 10 and 0 or 1)
  return year, month, day_of_year - floor((153 * march_month + 2) / 5) + 1
end

--- Unix seconds as date and time of day in UTC, to the second.
---@param seconds number Unix seconds; a fraction is cut off
---@return integer year, integer month, integer day, integer hour, integer minute, integer second
---@return integer weekday 0 is Sunday
function dates.split(seconds)
  seconds = floor(seconds)
  local days = floor(seconds / 86400)
  local rest = seconds - days * 86400
  local year, month, day = date_of(days)
  return year, month, day, floor(rest / 3600), floor(rest / 60) % 60, rest % 60, (days + 4) % 7
end

--- Writes the value of a `Date` header: `Sun, 06 Nov 1994 08:49:37 GMT`.
---@param seconds number Unix seconds; a fraction is cut off
---@return string
function dates.http_date(seconds)
  local year, month, day, hour, minute, second, weekday = dates.split(seconds)
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(
    weekday_names[weekday + 1],
    day,
    month_names[month],
    year,
    hour,
    minute,
    second
  )
end

-- Fractions of a second are written as a whole number of these: exactly, and without a decimal point that
-- depends on the locale.
local units = 2 ^ 32

--- A time as an exact text, for values that other processes read: `1700000000.2147483648`.
---@param seconds number
---@return string
function dates.to_text(seconds)
  local whole = floor(seconds)
  return ("%.0f.%.0f"):format(whole, floor((seconds - whole) * units))
end

--- The time that such a text tells; nil for anything else.
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

return dates
