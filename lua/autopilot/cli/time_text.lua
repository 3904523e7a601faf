--- Times and durations as people read them.

local time_text = {}

--- A moment in ISO 8601, UTC, whole seconds: `2026-07-23T11:23:15Z`.
---@param seconds number Unix time
---@return string
function time_text.moment(seconds)
  return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(seconds))
end

local units = { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } }

--- A duration by its two largest units: `3 d 4 h`, `4 min 3 s`, `42 s`; what is less is left out.
---@param seconds number at least 0
---@return string
function time_text.duration(seconds)
  local rest, parts = math.floor(seconds), {}
  for index, unit in ipairs(units) do
    local count = math.floor(rest / unit[1])
    rest = rest - count * unit[1]
    if count > 0 or (index == #units and #parts == 0) then
      parts[#parts + 1] = ("%d %s"):format(count, unit[2])
    end
    if parts[2] or (parts[1] and count == 0) then
      break
    end
  end
  return table.concat(parts, " ")
end

return time_text
