--- What an access token says of itself, for people who look for a mistake. Nothing is verified.
--
-- A token is for the service that it was made for; to everybody else it may be opaque. So nothing may
-- depend on what is read here, and no message has a word of the token.

local base64url = require "autopilot.base.base64url"
local json = require "autopilot.base.json"

-- Access tokens have a few thousand bytes.
local longest = 64 * 1024

--- Without the nulls of JSON, which are truthy here.
local function without_nulls(value)
  if type(value) ~= "table" then
    return value
  end
  for key, field in pairs(value) do
    if field == json.null then
      value[key] = nil
    else
      without_nulls(field)
    end
  end
  return value
end

--- The claims of a JSON Web Token (RFC 7519), unverified; nil and why for anything else. Never raises.
---@param token any
---@return table<string, any>? claims as they stand in the token, without nulls
---@return string? message
local function inspect(token)
  if type(token) ~= "string" or token == "" then
    return nil, "there is no token"
  elseif #token > longest then
    return nil, "the token is too large to be read"
  end
  local payload = token:match "^[%w_-]+%.([%w_-]+)%.[%w_-]*$"
  local text = payload and base64url.decode(payload)
  if not text then
    return nil, "the token is opaque: it is no JSON Web Token"
  end
  local claims = text:find "^%s*{" and json.decode(text, true)
  if type(claims) ~= "table" then
    return nil, "the token cannot be read: its claims are no JSON object"
  end
  return without_nulls(claims)
end

return inspect
