--- A token that was fetched elsewhere, for as long as it is valid.

local core = require "autopilot.core"

--- Makes a provider that always returns this token, also after it was refused: it has no other.
---@param token string
---@return autopilot.TokenProvider
return function(token)
  local must = type(token) ~= "string" and ("be a string (got %s)"):format(type(token))
    or token == "" and "not be empty"
    or not core.is_header_text(token) and "not contain CR, LF or NUL"
  if must then
    error("autopilot.token.static: the token must " .. must, 2)
  end
  return function(ask)
    if ask and ask.has_several then
      local message = "a ready token is of one tenant, and there are several"
      return nil, message, { code = "TenantMismatch", is_transient = false }
    end
    return token
  end
end
