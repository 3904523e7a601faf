--- How long a token is good, and when the next is to be asked for. Seconds; pure.

local json = require "autopilot.base.json"

local life = {}

-- A token that lives so long is renewed at half its life (MSAL, managed identity).
local long_life = 7200

--- A number above zero, also as text, or nil. JSON's reader takes the text: in Lua 5.1 `tonumber` wants
-- the decimal point of the locale.
---@param value any
---@return number?
function life.positive(value)
  if type(value) == "string" then
    value = value:match "^%d+%.?%d*$" and json.decode(value)
  end
  local is_useful = type(value) == "number" and value > 0 and value < math.huge
  return is_useful and value or nil
end

local positive = life.positive

--- Seconds that the token is good for: as its provider says, else as the token says itself. Nil when
-- neither does; 0 when it is over.
---@param token string
---@param expires_in any the provider's
---@param now number Unix seconds
---@return number?
function life.of(token, expires_in, now)
  if positive(expires_in) then
    return positive(expires_in)
  elseif type(expires_in) == "number" and expires_in <= 0 then
    return 0
  end
  local claims = require "autopilot.base.jwt"(token)
  local expires = claims and positive(claims.exp)
  return expires and math.max(0, expires - now)
end

--- When to ask for another although this one is still good; nil for no such time.
---@param extra any the provider's third result
---@param seconds number for which the token is good
---@return number?
function life.refresh_in(extra, seconds)
  local told = type(extra) == "table" and positive(extra.refresh_in)
  if told and told < seconds then
    return told
  end
  return seconds >= long_life and seconds / 2 or nil
end

return life
