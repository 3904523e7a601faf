--- Moments as they are typed: Unix seconds, ISO 8601 with an offset, `now`, or a time ago (`-10m`).

local time_text = require "autopilot.cli.time_text"

local moment = {}

-- 2020, before this library was written: a clock that shows less was never set.
local earliest_now = 1577836800

local must_be = "option '%s' must be Unix seconds, a time like 2026-07-23T11:23:15Z, now or -10m "
  .. "(got '%s')"

local unit_seconds = { s = 1, m = 60, h = 3600, d = 86400 }

--- The moment that the text means, or nil when it means none.
---@param text string
---@param now number Unix seconds
---@return number? seconds Unix time
function moment.parse(text, now)
  if text == "now" then
    return now
  elseif text:match "^%d+$" or text:match "^%d+%.%d+$" then
    return #text <= 20 and tonumber(text) or nil
  end
  local count, unit = text:match "^%-(%d+)([smhd])$"
  if count then
    return #count <= 9 and now - tonumber(count) * unit_seconds[unit] or nil
  end
  return require("autopilot.base.dates").read_timestamp(text)
end

--- Why a moment cannot be waited from, as the end of a sentence that names it; nil when it can.
---@param since number Unix seconds
---@param now number Unix seconds, by this machine's clock
---@return string? complaint
function moment.complaint(since, now)
  if now < earliest_now then
    return ("cannot be used: this machine's clock is wrong, it shows %s"):format(
      time_text.moment(now)
    )
  end
  return since > now and "must not be in the future" or nil
end

--- A converter for argparse: lets the text through when it means a moment.
---@param name string the option, as it is typed
---@return fun(text: string): string?, string?
function moment.converter(name)
  return function(text)
    if moment.parse(text, 0) then
      return text
    end
    local shown = text:sub(1, 80):gsub("%c", "?")
    return nil, must_be:format(name, shown)
  end
end

return moment
