--- Checks of the `http` options that are seldom used.

local named_file = require "autopilot.base.named_file"

local http_options = {}

local certificate = "%-%-%-%-%-BEGIN [%u%d ]*CERTIFICATE%-%-%-%-%-"

--- Why a file of certificate authorities cannot be used; nil when it can. libcurl reads it more than once, so
-- it cannot be a pipe.
function http_options.complaint_about_ca_file(path)
  local cannot, shown = "cannot be read: %s: %s", named_file.printable(path)
  local file, message = named_file.open(path)
  if not file then
    return "cannot be read: " .. message
  elseif not file:seek "cur" then
    file:close()
    return cannot:format(shown, "it is a pipe, and is read more than once")
  end
  local text, reason = file:read "*a"
  file:close()
  if not text or text == "" then
    return cannot:format(shown, reason or "it is empty")
  elseif not text:find(certificate) then
    local has_none = "must hold certificates in PEM ('-----BEGIN CERTIFICATE-----'); %s has none"
    return has_none:format(shown)
  end
end

local proxy_schemes = { http = true, https = true, socks5 = true, socks5h = true }

--- Whether the text is empty or `scheme://[user[:password]@]host[:port]`. libcurl's messages quote a URL that it
-- cannot read, with the password in it, so such a URL is refused here.
function http_options.complaint_about_proxy(proxy)
  local scheme, authority = proxy:match "^(%a[%w]*)://([^%s%c/?#]+)/?$"
  local place = authority and authority:match "[^@]*$" or ""
  local port = place:match "^[%w._\128-\255-]+(.*)$" or place:match "^%[[%x:.]+%](.*)$"
  local number = port and (port == "" and 0 or tonumber(port:match "^:(%d+)$"))
  local is_url = proxy_schemes[scheme] and number and number <= 65535
  if proxy ~= "" and not is_url then
    return "must be like 'http://host:port' (schemes http, https, socks5, socks5h) or ''"
  end
end

return http_options
