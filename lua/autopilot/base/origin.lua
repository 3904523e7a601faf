--- Splits the address of a host, `scheme://host[:port]`, with or without a slash behind it.
---@param text string
---@return string? scheme in small letters; nil for anything with more or less in it
---@return string? host in small letters, an IPv6 address in brackets
---@return string? port with its colon, or empty
return function(text)
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
