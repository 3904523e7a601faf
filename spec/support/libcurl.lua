--- The version of the loaded libcurl, for differences between versions (doc/worlds.md).

local core = require "autopilot.core"

local libcurl = {}

local major, minor = core.info().libcurl:match "^(%d+)%.(%d+)"
local loaded = 1000 * major + minor

--- Whether it is one of these versions, both included.
---@param first string like "8.11"
---@param last string? default: the newest
---@return boolean
function libcurl.is_between(first, last)
  local function number(version)
    local x, y = version:match "^(%d+)%.(%d+)$"
    return 1000 * x + y
  end
  return loaded >= number(first) and (last == nil or loaded <= number(last))
end

return libcurl
