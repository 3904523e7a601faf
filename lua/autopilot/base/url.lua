--- Which hosts are this machine. Only to them requests may go over plain http.

local names = { ["localhost"] = true, ["[::1]"] = true }

--- Whether a host certainly is this machine: localhost, ::1, or an address (not a name) in 127.0.0.0/8.
---@param host string in lower case, without a port; an IPv6 address in brackets
---@return boolean
local function is_loopback(host)
  if names[host] then
    return true
  end
  local second, third, fourth = host:match "^127%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$"
  return second ~= nil and math.max(tonumber(second), tonumber(third), tonumber(fourth)) <= 255
end

return is_loopback
