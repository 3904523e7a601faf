--- The times of a token: until when it can be used, and from when on the next one is requested. All durations
-- are seconds.

local json = require "autopilot.base.json"
local lazy = require "autopilot.base.lazy"

local read_claims = lazy "autopilot.base.jwt"

local life = {}

-- Seconds. A token with this lifetime or a longer one is renewed after half of it (as MSAL does for managed
-- identities).
local long_life = 7200

---@class autopilot.token.Kept a token with its times, in Unix seconds
---@field token string
---@field claims string? the claims request that it was fetched with
---@field obtained_at number
---@field expires_at number? nil when it is not known
---@field usable_until number from then on it is not returned
---@field fresh_until number from then on a new token is requested; this one is used until that arrives

--- Converts a number or a text to a positive number; nil for anything else. Texts are read as JSON: in Lua
-- 5.1 `tonumber` expects the decimal point of the locale.
function life.positive(value)
  if type(value) == "string" then
    value = value:match "^%d+%.?%d*$" and json.decode(value)
  end
  local is_useful = type(value) == "number" and value > 0 and value < math.huge
  return is_useful and value or nil
end

--- Seconds until the token expires: from `expires_in`, else from the token's `exp` claim; nil without both.
local function seconds_of(token, expires_in, now)
  local seconds = life.positive(expires_in)
  if seconds or type(expires_in) == "number" and expires_in <= 0 then
    return seconds or 0
  end
  local claims = read_claims(token)
  local expires_at = claims and life.positive(claims.exp)
  return expires_at and math.max(0, expires_at - now)
end

--- Sets `usable_until` of a token by the limits, and limits `fresh_until` to it.
---@param kept table may have no `fresh_until`
---@param limits autopilot.token.CachedOptions
---@return autopilot.token.Kept kept
function life.limit(kept, limits)
  kept.usable_until = kept.expires_at and kept.expires_at - limits.minimum_life
    or kept.obtained_at + limits.unknown_life
  kept.fresh_until = math.min(kept.fresh_until or math.huge, kept.usable_until)
  return kept
end

--- Requests a token from a provider. Returns it with its times.
---@return autopilot.token.Kept? kept nil when the provider failed
---@return any message, any details
function life.fetch(provider, ask, limits)
  local token, expires_in, extra = provider(ask)
  if type(token) ~= "string" or token == "" then
    return nil, token and "the provider's token must be a text, not empty" or expires_in, extra
  end
  local now = ask.now()
  local seconds = seconds_of(token, expires_in, now)
  local early = type(extra) == "table" and life.positive(extra.refresh_in)
  if seconds and (early or seconds) >= seconds then
    early = seconds >= long_life and seconds / 2
  end
  return life.limit({
    token = token,
    claims = ask.claims,
    obtained_at = now,
    expires_at = seconds and now + seconds,
    fresh_until = seconds and early and now + early or nil,
  }, limits)
end

--- Whether a token is still usable, and was fetched with the claims that are requested.
function life.can_answer(kept, ask, now)
  return now < kept.usable_until and (ask.claims == nil or kept.claims == ask.claims)
end

--- Joins tenant, in any case, cloud and scope, of which the first two contain no blanks.
function life.key_of(ask)
  return (ask.tenant or ""):lower() .. " " .. (ask.cloud or "") .. " " .. (ask.scope or "")
end

return life
