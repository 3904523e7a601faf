--- A token with its times: how long it can be used, and when the next one is to be asked for. All durations
-- are seconds.

local json = require "autopilot.base.json"

local life = {}

-- A token with such a long life is renewed at half of it (as MSAL does for managed identities).
local long_life = 7200

--- A number above zero, also from a text; nil for anything else. Texts are read as JSON: in Lua 5.1
-- `tonumber` expects the decimal point of the locale.
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

--- Seconds until the token expires: as its provider says, else as the token says itself.
---@param token string
---@param expires_in any the provider's second result
---@param now number Unix seconds
---@return number? seconds 0 when it has expired; nil when neither tells
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

--- Seconds after which a token is to be renewed although it can still be used.
---@param extra any the provider's third result
---@param seconds number until the token expires
---@return number? seconds nil when it is not to be renewed early
function life.refresh_in(extra, seconds)
  local told = type(extra) == "table" and positive(extra.refresh_in)
  if told and told < seconds then
    return told
  end
  return seconds >= long_life and seconds / 2 or nil
end

---@class autopilot.token.Kept a token with its times, in Unix seconds
---@field token string
---@field claims string? the claims request that it was fetched with
---@field obtained_at number
---@field expires_at number? nil when it is not known
---@field fresh_until number? from then on a new token is asked for; until there is one, this one is used

--- Asks a provider.
---@param provider autopilot.TokenProvider
---@param ask autopilot.TokenAsk
---@return autopilot.token.Kept? kept nil when the provider failed
---@return any message
---@return any details
function life.fetch(provider, ask)
  local token, expires_in, extra = provider(ask)
  if type(token) ~= "string" or token == "" then
    return nil, expires_in, extra
  end
  local now = ask.now()
  local seconds = life.of(token, expires_in, now)
  local early = seconds and life.refresh_in(extra, seconds)
  return {
    token = token,
    claims = ask.claims,
    obtained_at = now,
    expires_at = seconds and now + seconds,
    fresh_until = early and now + early,
  }
end

--- When a token is no longer handed out.
---@param kept autopilot.token.Kept
---@param limits { minimum_life: number, unknown_life: number }
---@return number Unix seconds
function life.usable_until(kept, limits)
  return kept.expires_at and kept.expires_at - limits.minimum_life
    or kept.obtained_at + limits.unknown_life
end

--- Whether a token answers what is asked: it can still be used, and was fetched with the claims asked for.
---@param kept autopilot.token.Kept
---@param ask autopilot.TokenAsk
---@param now number
---@param limits { minimum_life: number, unknown_life: number }
---@return boolean
function life.can_answer(kept, ask, now, limits)
  return now < life.usable_until(kept, limits) and (ask.claims == nil or kept.claims == ask.claims)
end

--- The parts of a key as one text. Each has its length before it, so that different parts never give the
-- same text.
---@param ... string? nil counts as an empty part
---@return string
function life.key_of(...)
  local parts = {}
  for index = 1, select("#", ...) do
    local part = tostring((select(index, ...)) or "")
    parts[index] = #part .. ":" .. part
  end
  return table.concat(parts)
end

return life
