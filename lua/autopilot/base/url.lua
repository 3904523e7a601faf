--- Tells loopback hosts, the only ones to which a request may go over plain http.

local names = { ["localhost"] = true, ["[::1]"] = true }

--- Whether a host is this machine. Of names, only `localhost` is: `127.0.0.1.example` is not.
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
