--- Unix seconds as the texts that the service writes, by civil arithmetic alone.
--
-- `os.date` is not used: it follows the locale, and an emulated clock may stand in any year.

local calendar = {}

local weekdays = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local months = {
  "Jan",
  "Feb",
  "Mar",
  "Apr",
  "May",
  "Jun",
  "Jul",
  "Aug",
  "Sep",
  "Oct",
  "Nov",
  "Dec",
}

local day_length = 86400
local days_per_400_years = 146097
-- Counted from 1 March of the year 0: the leap day is then the last of its year.
local days_before_1970 = 719468

--- Year, month and day of a day counted from 1 January 1970.
local function civil(day)
  local shifted = day + days_before_1970
  local era = math.floor(shifted / days_per_400_years)
  local day_of_era = shifted - era * days_per_400_years
  local leap_days = math.floor(day_of_era / 1460)
    - math.floor(day_of_era / 36524)
    + math.floor(day_of_era / 146096)
  local year_of_era = math.floor((day_of_era - leap_days) / 365)
  local first_day = 365 * year_of_era + math.floor(year_of_era / 4) - math.floor(year_of_era / 100)
  local day_of_year = day_of_era - first_day
  -- From March on, the months' lengths repeat every five months, which are 153 days.
  local month = math.floor((5 * day_of_year + 2) / 153)
  local day_of_month = day_of_year - math.floor((153 * month + 2) / 5) + 1
  local year = year_of_era + 400 * era
  if month < 10 then
    return year, month + 3, day_of_month
  end
  return year + 1, month - 9, day_of_month
end

---@param seconds number Unix seconds; a fraction is cut off
---@return table parts year, month, day, hour, minute, second, weekday (1 is Sunday)
local function parts_of(seconds)
  local whole = math.floor(seconds)
  local day = math.floor(whole / day_length)
  local rest = whole - day * day_length
  local year, month, day_of_month = civil(day)
  return {
    year = year,
    month = month,
    day = day_of_month,
    hour = math.floor(rest / 3600),
    minute = math.floor(rest / 60) % 60,
    second = rest % 60,
    weekday = (day + 4) % 7 + 1, -- 1 January 1970 was a Thursday
  }
end

--- The value of a `Date` header (RFC 9110, IMF-fixdate).
---@param seconds number Unix seconds
---@return string
function calendar.http_date(seconds)
  local at = parts_of(seconds)
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(
    weekdays[at.weekday],
    at.day,
    months[at.month],
    at.year,
    at.hour,
    at.minute,
    at.second
  )
end

--- Date and time of day in UTC with the given text between them, to the second.
---@param seconds number Unix seconds
---@param between string `T` or a space
---@return string
function calendar.date_and_time(seconds, between)
  local at = parts_of(seconds)
  return ("%04d-%02d-%02d%s%02d:%02d:%02d"):format(
    at.year,
    at.month,
    at.day,
    between,
    at.hour,
    at.minute,
    at.second
  )
end

--- Seconds that a zone is ahead of UTC, or nil when the text is no zone.
---@param zone string `Z` or an offset such as `-08:00`
---@return number?
function calendar.zone_offset(zone)
  if zone == "Z" then
    return 0
  end
  local sign, hours, minutes = zone:match "^([+-])(%d%d):(%d%d)$"
  if not sign or tonumber(hours) > 14 or tonumber(minutes) > 59 then
    return nil
  end
  local offset = tonumber(hours) * 3600 + tonumber(minutes) * 60
  return sign == "-" and -offset or offset
end

--- A stamp with seven fractional digits, as the service writes it; nil seconds stand for "never".
---@param seconds number? Unix seconds
---@param zone string `Z` or an offset such as `-08:00`
---@return string
function calendar.stamp(seconds, zone)
  if not seconds then
    return "0001-01-01T00:00:00Z"
  end
  local whole = math.floor(seconds)
  local ticks = math.floor((seconds - whole) * 1e7 + 0.5)
  if ticks == 1e7 then
    whole, ticks = whole + 1, 0
  end
  local text = calendar.date_and_time(whole + calendar.zone_offset(zone), "T")
  return ("%s.%07d%s"):format(text, ticks, zone)
end

return calendar
