--- Parts of URLs, percent-encoding, and which hosts are this machine: plain http is allowed only to them.

local url = {}

--- Splits `scheme://host[:port]`, with or without a slash behind it.
---@return string? scheme in small letters; nil for anything with more or less in it
---@return string? host in small letters, an IPv6 address in brackets
---@return string? port with its colon, or empty
function url.split(text)
  local scheme, host, port = text:lower():match "^(%a+)://(%w[%w.-]*)(.*)$"
  if not scheme then
    scheme, host, port = text:lower():match "^(%a+)://(%[[%x:.]+%])(.*)$"
  end
  port = port and port:gsub("/$", "")
  local number = port and tonumber(port:match "^:(%d%d?%d?%d?%d?)$")
  local is_port = port == "" or (number and number >= 1 and number <= 65535)
  if is_port and not host:find("..", 1, true) then
    return scheme, host, port
  end
end

--- Returns a URL's scheme and host, without user and password. After the host there must be no `@`.
function url.without_user(text)
  local scheme, rest = text:match "^(%a[%w+.-]*://)(.*)$"
  return (scheme or "") .. (rest or text):match "[^@]*$"
end

--- The text that was percent-encoded. A percent sign that is not followed by two digits stays.
function url.percent_decoded(text)
  local decoded = text:gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end)
  return decoded
end

--- Whether a host certainly is this machine: localhost, ::1, or an address (not a name) in 127.0.0.0/8.
---@param host string in lower case, without a port; an IPv6 address in brackets
function url.is_loopback(host)
  local second, third, fourth = host:match "^127%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$"
  local is_address = second and math.max(tonumber(second), tonumber(third), tonumber(fourth)) <= 255
  return host == "localhost" or host == "[::1]" or is_address or false
end

return url
