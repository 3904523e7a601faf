--- Addresses of services: what they consist of, and which of them are on this machine.

local url = {}

--- Splits the address of a host, `scheme://host[:port]`, with or without a slash behind it.
---@param text string
---@return string? scheme in small letters; nil for anything with more or less in it
---@return string? host in small letters, an IPv6 address in brackets
---@return string? port with its colon, or empty
function url.origin(text)
  local scheme, host, port = text:lower():match "^(%a+)://(%w[%w.-]*)(.*)$"
  if not scheme then
    scheme, host, port = text:lower():match "^(%a+)://(%[[%x:.]+%])(.*)$"
  end
  port = port and port:gsub("/$", "")
  local number = port and tonumber(port:match "^:(%d%d?%d?%d?%d?)$")
  local is_port = port == "" or (number and number >= 1 and number <= 65535)
  if not is_port or host:find("..", 1, true) then
    return nil
  end
  return scheme, host, port
end

local names = { ["localhost"] = true, ["[::1]"] = true }

--- Whether a host certainly is this machine: localhost, ::1, or an address (not a name) in 127.0.0.0/8. Only
-- to such a host requests may go over plain http.
---@param host string in lower case, without a port; an IPv6 address in brackets
---@return boolean
function url.is_loopback(host)
  if names[host] then
    return true
  end
  local second, third, fourth = host:match "^127%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$"
  return second ~= nil and math.max(tonumber(second), tonumber(third), tonumber(fourth)) <= 255
end

return url
