--- A token that was fetched elsewhere, for as long as it is valid.

local complaint_about = require("autopilot.base.options").token_complaint

--- Makes a provider that always returns this token, also after it was refused: it has no other.
---@param token string
---@return autopilot.TokenProvider
return function(token)
  local complaint = complaint_about(token)
  if complaint then
    error("autopilot.token.static: the token " .. complaint, 2)
  end
  return function(ask)
    if ask and ask.has_several then
      local message = "a ready token is of one tenant, and there are several"
      return nil, message, { code = "TenantMismatch", is_transient = false }
    end
    return token
  end
end
