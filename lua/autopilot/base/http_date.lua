--- Reads HTTP-date (RFC 9110 section 5.6.7) as Unix time:
--
--     Sun, 06 Nov 1994 08:49:37 GMT       the form in use
--     Sunday, 06-Nov-94 08:49:37 GMT      RFC 850, obsolete
--     Sun Nov  6 08:49:37 1994            C's asctime, obsolete
--
-- The reader is strict: a text that the format does not allow gives nil, never a guess. (`curl_getdate` reads 30
-- February.) The system's locale and time zone have no influence.

local floor = math.floor

local http_date = {}

local months, weekdays = {}, {}
for name in ("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"):gmatch "%a+" do
  months[#months + 1] = name
  months[name] = #months
end
http_date.months = months

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

--- Unix seconds and name of the day of a date and a time, given as digits; nil when there is no such day or
-- time of day. Second 60, a leap second, counts as second 0 of the next minute.
function http_date.unix_time(year, month, day, hour, minute, second)
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  local is_time = hour <= 23 and minute <= 59 and second <= 60
  if not (is_time and year and month) or month < 1 or month > 12 then
    return nil
  end
  local first = month_begin(year, month)
  if day < 1 or day > month_begin(year, month + 1) - first then
    return nil
  end
  local days = first + day - 1
  return ((days * 24 + hour) * 60 + minute) * 60 + second + 0.0, weekdays[days % 7 + 1]
end

--- The latest year with these last two digits in which the date is at most 50 years after `now`; nil when no such
-- year is left.
local function complete_year(digits, month, day, hour, minute, second, now)
  local seconds = ((day - 1) * 24 + hour) * 3600 + minute * 60 + second
  for year = 9900 + digits, 0, -100 do
    if month_begin(year - 50, month) * 86400 + seconds <= now then
      return year
    end
  end
end

--- The text without spaces and tabs around it. A pattern for both ends would take quadratic time.
local function trim(text)
  local first = text:find "[^ \t]"
  return first and text:match(".*[^ \t]", first) or ""
end

--- The parts of a date, as texts; nil for another text.
---@return string? weekday, string? day, string? gap, string? month, string? year, string? hour, string? minute, string? second
local function parts_of(text)
  if text:find "%d$" then -- asctime
    text = text:gsub("^(%a%a%a %a%a%a ) (%d )", "%10%2")
    text = text:gsub("^(%a%a%a) (%a%a%a) (%d%d) (%S+) (%d+)$", "%1, %3 %2 %5 %4 GMT")
  end
  return text:match "^(%a+), (%d%d)([ -])(%a%a%a)%3(%d+) (%d%d):(%d%d):(%d%d) GMT$"
end

-- The date that was read last: many answers in the same second have the same date.
local last_text, last_seconds

--- Reads the value of `Date`, `Retry-After` or `Sunset`, with nothing but spaces and tabs around it. A date with the
-- wrong day of the week is refused: it could mean two days. That also saves a two-digit year from a wrong local clock:
-- a date some centuries off falls on another day of the week.
---@param text string? nil: there is no such header
---@param now number? Unix seconds, for the two-digit year only; default: the system's clock
---@return number? seconds Unix seconds; nil when the text is not an HTTP date
function http_date.read(text, now)
  if text == last_text then
    return last_seconds
  elseif type(text) ~= "string" then
    return nil
  end
  local weekday, day, gap, month, year, hour, minute, second = parts_of(trim(text))
  month = months[month]
  local is_in_use = gap == " "
  if not month or #year ~= (is_in_use and 4 or 2) then
    return nil
  elseif not is_in_use then
    year = complete_year(year, month, day, hour, minute, second, now or os.time())
  end
  local seconds, name = http_date.unix_time(year, month, day, hour, minute, second)
  if not seconds or weekday ~= (is_in_use and name:sub(1, 3) or name) then
    return nil
  elseif is_in_use then
    last_text, last_seconds = text, seconds
  end
  return seconds
end

return http_date
