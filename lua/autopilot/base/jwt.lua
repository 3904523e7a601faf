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

--- The value at a position of a JSON text: a text, a whole number or a list; nil for any other.
local function value_at(text, from)
  local sign = text:sub(from, from)
  local close = (sign == '"' or sign == "[")
    and text:find(sign == '"' and '"' or "]", from + 1, true)
  if sign == '"' then
    return close and text:sub(from + 1, close - 1)
  elseif sign == "[" then
    return close and json.decode(text:sub(from, close), true)
  end
  return tonumber(text:match("^(%d+)[,}]", from))
end

--- Some members of a JSON object, without decoding the others. Nil where that cannot be told by searching for their
-- names: there are escapes or other objects in it, a name is not followed by a colon, or another ends like it.
local function pick(object, names)
  if object:find("\\", 1, true) or object:find("{", 2, true) then
    return nil
  end
  local members = {}
  for _, name in ipairs(names) do
    local first, colon = object:find(name .. '":', 1, true)
    local value = first and object:sub(first - 1, first - 1) == '"' and value_at(object, colon + 1)
    if not value and (first or object:find('"' .. name .. '"', 1, true)) then
      return nil
    end
    members[name] = value
  end
  return members
end

--- The claims of a JSON Web Token (RFC 7519), unverified; nil and the reason for anything else. Never
-- raises.
---@param token any
---@param names string[]? the claims that are wanted, where the others may be missing
---@return table<string, any>? claims as they stand in the token, without nulls
---@return string? message
local function inspect(token, names)
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
  local claims = names and pick(text, names)
  if claims then
    return claims
  end
  claims = text:find "^%s*{" and json.decode(text, true)
  if type(claims) ~= "table" then
    return nil, "the token cannot be read: its claims are no JSON object"
  end
  return text:find("null", 1, true) and without_nulls(claims) or claims
end

return inspect
