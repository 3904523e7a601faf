--- How the service of the random histories writes times and records.
--
-- It shares nothing with `autopilot.emulator`, so that a mistake there does not hide the same mistake here.

local service_text = {}

local month_names =
  { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }
local weekday_names = { [0] = "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" }

local calendar_days = {}

--- Year, month and day of a day since 1970, counted from the years on.
local function calendar_day(day)
  local known = calendar_days[day]
  if known then
    return known
  end
  local year, left = 1970, day
  local function length(y)
    return (y % 4 == 0 and (y % 100 ~= 0 or y % 400 == 0)) and 366 or 365
  end
  while left >= length(year) do
    left, year = left - length(year), year + 1
  end
  local lengths = { 31, length(year) - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
  local month = 1
  while left >= lengths[month] do
    left, month = left - lengths[month], month + 1
  end
  known = { year, month, left + 1 }
  calendar_days[day] = known
  return known
end

local function clock_time(time)
  local second = math.floor(time) % 86400
  return math.floor(second / 3600), math.floor(second / 60) % 60, second % 60
end

function service_text.http_date(time)
  local day = math.floor(time / 86400)
  local date = calendar_day(day)
  return ("%s, %02d %s %d %02d:%02d:%02d GMT"):format(
    weekday_names[day % 7],
    date[3],
    month_names[date[2]],
    date[1],
    clock_time(time)
  )
end

--- A stamp of the record, with seven digits, in the zone of so many hours.
local function stamp(time, zone)
  if not time then
    return "0001-01-01T00:00:00Z"
  end
  local there = time + zone * 3600
  local date = calendar_day(math.floor(there / 86400))
  local hour, minute, second = clock_time(there)
  local name = zone == 0 and "Z" or ("%s%02d:00"):format(zone < 0 and "-" or "+", math.abs(zone))
  return ("%04d-%02d-%02dT%02d:%02d:%02d.%07d%s"):format(
    date[1],
    date[2],
    date[3],
    hour,
    minute,
    second,
    math.floor((time - math.floor(time)) * 1e7 + 0.5),
    name
  )
end

local record_form =
  '{"lastSyncDateTime":"%s","lastManualSyncTriggerDateTime":"%s","syncStatus":"%s"}'

function service_text.record_body(record, rules)
  local body = record_form:format(
    stamp(record.last_sync, rules.zone),
    stamp(record.trigger, rules.zone),
    record.status
  )
  return rules.is_wrapped and '{"value":' .. body .. "}" or body
end

return service_text
