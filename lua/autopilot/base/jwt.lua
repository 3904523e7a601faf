--- The claims of an access token, for diagnosis. Nothing is verified.
--
-- Only the service that a token was issued for has to understand it: for all others it may be opaque. So
-- nothing may depend on what is read here, and no message repeats a part of the token.

local core = require "autopilot.core"
local json = require "autopilot.base.json"

-- Bytes. Access tokens have a few thousand.
local longest = 64 * 1024

--- The second of three parts with dots between them; nil when there are more parts or fewer. Plain `find`
-- takes a tenth of the time that a pattern takes for a whole token.
local function payload_of(token)
  local first = token:find(".", 1, true)
  local second = first and token:find(".", first + 1, true)
  if second and not token:find(".", second + 1, true) then
    return token:sub(first + 1, second - 1)
  end
end

--- Removes JSON's nulls, which are not nil in Lua.
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

--- The claims of a JSON Web Token (RFC 7519), unverified; nil and the reason for anything else. Never
-- raises.
---@return table<string, any>? claims as they stand in the token, without nulls
---@return string? message
local function inspect(token)
  if type(token) ~= "string" or token == "" then
    return nil, "there is no token"
  elseif #token > longest then
    return nil, "the token is too large to be read"
  end
  local payload = payload_of(token)
  local text = payload and core.base64_decode(payload)
  if not text then
    return nil, "the token is opaque: it is no JSON Web Token"
  end
  local claims = text:find "^%s*{" and json.decode(text, true)
  if type(claims) ~= "table" then
    return nil, "the token cannot be read: its claims are no JSON object"
  end
  return text:find("null", 1, true) and without_nulls(claims) or claims
end

return inspect
