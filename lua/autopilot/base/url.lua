--- Which hosts are this machine: the only ones to which anything may go over plain http.

local names = { ["localhost"] = true, ["[::1]"] = true }

--- Whether a host is surely this machine: 127.0.0.0/8 only where it is an address and no name.
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
