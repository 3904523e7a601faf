--- Where a platform says that its identity endpoint is: addresses from the environment, checked.
--
-- Plain http goes to this machine and to link-local addresses alone, for which these endpoints are made.

local authority = require "autopilot.token.authority"
local is_loopback = require "autopilot.base.url"
local oauth = require "autopilot.token.oauth"

local endpoint = {}

--- Whether a host is an IPv4 link-local address, 169.254.0.0/16, and no name.
local function is_link_local(host)
  local third, fourth = host:match "^169%.254%.(%d%d?%d?)%.(%d%d?%d?)$"
  return third ~= nil and math.max(tonumber(third), tonumber(fourth)) <= 255
end

--- The address, or nil and what it must be. What was given is not quoted: it may hide a password.
---@param text string
---@param is_local boolean? the platform's endpoint is on this machine: http goes nowhere else
---@return string? url
---@return string? complaint
function endpoint.parse(text, is_local)
  local scheme, place, rest = text:match "^(%a+)://([^/?#]*)(.*)$"
  scheme = scheme and scheme:lower()
  local is_right = (scheme == "https" or scheme == "http")
    and authority.parse("https://" .. place) ~= nil
    and not rest:find "[^\33-\126]"
    and not rest:find "[#\\]"
  if not is_right then
    return nil, "must be an https or http URL without credentials, blanks or fragment"
  end
  local host = place:lower():match "^%[.*%]" or place:lower():match "^[^:]*"
  if scheme == "http" and not is_loopback(host) and (is_local or not is_link_local(host)) then
    local where = is_local and "loopback" or "loopback and link-local"
    return nil, ("must be https: http is for %s addresses only"):format(where)
  end
  return scheme .. "://" .. place .. rest
end

--- The address with these parameters.
---@param url string
---@param parameters table<string, string>
---@return string
function endpoint.with_query(url, parameters)
  return url .. (url:find("?", 1, true) and "&" or "?") .. oauth.encode_form(parameters)
end

return endpoint
