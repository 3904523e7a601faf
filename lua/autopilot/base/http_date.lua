--- Reads HTTP-date (RFC 9110 section 5.6.7) as Unix time, in the form that is in use. `autopilot.base.dates` reads the
-- obsolete forms too.
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
function http_date.month_begin(year, month)
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
  if not month or month < 1 or month > 12 or hour > 23 or minute > 59 or second > 60 then
    return nil
  end
  local first = http_date.month_begin(year, month)
  if day < 1 or day > http_date.month_begin(year, month + 1) - first then
    return nil
  end
  local days = first + day - 1
  return ((days * 24 + hour) * 60 + minute) * 60 + second + 0.0, weekdays[days % 7 + 1]
end

-- The date that was read last: all answers of one second have the same.
local last_text, last_seconds

--- Reads `Sun, 06 Nov 1994 08:49:37 GMT`, with nothing but spaces and tabs around it. A date with the wrong day of
-- the week is refused: it could mean two days.
---@param text string? nil: there is no such header
---@return number? seconds Unix seconds; nil when the text is something else
function http_date.read(text)
  if text == last_text then
    return last_seconds
  elseif type(text) ~= "string" then
    return nil
  end
  local weekday, day, month, year, hour, minute, second =
    text:match "^[ \t]*(%a%a%a), (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT[ \t]*$"
  local seconds, name
  if weekday then
    seconds, name = http_date.unix_time(year, months[month], day, hour, minute, second)
  end
  if not seconds or weekday ~= name:sub(1, 3) then
    return nil
  end
  last_text, last_seconds = text, seconds
  return seconds
end

return http_date
