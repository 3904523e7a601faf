--- A token that was fetched elsewhere, for as long as it is valid.

local core = require "autopilot.core"
local provider = require "autopilot.token.provider"

local function mistake_of(token)
  if type(token) ~= "string" then
    return ("be a string (got %s)"):format(type(token))
  elseif token == "" then
    return "not be empty"
  end
  return not core.is_header_text(token) and "not contain CR, LF or NUL" or nil
end

--- Makes a provider that always returns this token, also after it was refused: it has no other.
---@param token string
---@return autopilot.TokenProvider
return function(token)
  local mistake = mistake_of(token)
  if mistake then
    error("autopilot.token.static: the token must " .. mistake, 2)
  end
  return function(ask)
    if ask and ask.has_several then
      local message = "a ready token is of one tenant, and there are several"
      return provider.failure(message, { code = "TenantMismatch" })
    end
    return token
  end
end
