--- A token that was fetched elsewhere, for as long as it is valid.

local core = require "autopilot.core"
local provider = require "autopilot.token.provider"

local name = "autopilot.token.static"

--- Makes a provider that always returns this token, also after it was refused: it has no other.
---@param token string
---@return autopilot.TokenProvider
local function new(token)
  if type(token) ~= "string" then
    error(("%s: the token must be a string (got %s)"):format(name, type(token)), 2)
  elseif token == "" or not core.is_header_text(token) then
    local must = token == "" and "not be empty" or "not contain CR, LF or NUL"
    error(("%s: the token must %s"):format(name, must), 2)
  end
  return function(ask)
    if ask and ask.has_several then
      local message = "a ready token is of one tenant, and there are several"
      return provider.failure(message, { code = "TenantMismatch" })
    end
    return token
  end
end

return new
