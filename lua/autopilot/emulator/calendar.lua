--- Unix seconds as the texts that the service writes.

local calendar = {}

-- Names are written here, because those of `os.date` follow the locale.
local weekdays = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local months =
  { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }

--- The value of a `Date` header (RFC 9110, IMF-fixdate).
---@param seconds number Unix seconds
---@return string
function calendar.http_date(seconds)
  local at = os.date("!*t", math.floor(seconds))
  local day = ("%s, %02d %s"):format(weekdays[at.wday], at.day, months[at.month])
  return day .. os.date("! %Y %H:%M:%S GMT", math.floor(seconds))
end

--- Date and time of day in UTC with the given text between them, to the second.
---@param seconds number Unix seconds
---@param between string `T` or a space
---@return string
function calendar.date_and_time(seconds, between)
  return os.date("!%Y-%m-%d" .. between .. "%H:%M:%S", math.floor(seconds)) --[[@as string]]
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
