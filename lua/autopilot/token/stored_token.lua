--- A token for all workers: a provider that looks into a store before it asks another provider, and
-- keeps there what that one gave.
--
-- One at a time asks, in all workers: whoever wants to ask takes a claim first, and who finds it taken
-- waits for the token. A store that fails, or a value that cannot be read, is as good as none. Whoever
-- shares the store has the same clock.

local core = require "autopilot.core"
local contract = require "autopilot.store.contract"
local json = require "autopilot.base.json"
local life = require "autopilot.token.life"
local protected_call = require "autopilot.base.protected_call"
local turns = require "autopilot.base.turns"

---@class autopilot.token.SharedOptions
---@field store autopilot.Store
---@field identity string whose tokens these are: the application's client id, say
---@field sealing autopilot.token.SealedText? nil: tokens are kept as they are
---@field minimum_life number seconds
---@field unknown_life number seconds

---@class autopilot.token.SharedToken
---@field token string
---@field obtained_at number Unix seconds, as are all
---@field expires_at number? nil when nobody knows
---@field fresh_until number? from then on another is asked for
---@field claims string? the claims request that it was fetched with

-- The first part of every key: whoever writes values of another form has another number.
local prefix = "autopilot:1:token:"

-- Seconds. A claim lasts as long as a request may take, and a margin; its holder's deadline ends it sooner.
local claim_life, margin = 60, 10
-- Between two looks.
local first_step, step_growth, longest_step = 0.001, 1.5, 0.05
-- No clocks that are kept right differ by more.
local largest_difference = 60

local function part(text)
  text = text and tostring(text) or ""
  return #text .. ":" .. text -- so that no two keys can run into each other
end

--- The key of what is asked for. Nothing secret is in it.
local function key_of(self, ask)
  local tenant = ask.tenant and ask.tenant:lower()
  return prefix .. part(self.identity) .. part(tenant) .. part(ask.cloud) .. part(ask.scope)
end

-- ---- What is in the store ----------------------------------------------------------------------------

local function encode(self, key, kept)
  -- Whole seconds: JSON keeps 14 digits of a number.
  local text = json.encode {
    token = kept.token,
    obtained_at = math.floor(kept.obtained_at),
    expires_at = kept.expires_at and math.floor(kept.expires_at),
    fresh_until = kept.fresh_until and math.floor(kept.fresh_until),
    claims = kept.claims,
  }
  if text and self.sealing then
    return self.sealing:seal(key, text)
  end
  return text
end

local function is_optional(value, kind)
  return value == nil or type(value) == kind
end

local function decode(self, key, value, now)
  local text = value
  if value and self.sealing then
    text = self.sealing:open(key, value)
  end
  local kept = text and json.decode(text)
  local is_kept = type(kept) == "table"
    and type(kept.token) == "string"
    and core.is_header_text(kept.token)
    and kept.token ~= ""
    and type(kept.obtained_at) == "number"
    and kept.obtained_at <= now + largest_difference
    and is_optional(kept.expires_at, "number")
    and is_optional(kept.fresh_until, "number")
    and is_optional(kept.claims, "string")
  return is_kept and kept or nil
end

--- Until when it may be handed out.
local function usable_until(self, kept)
  return kept.expires_at and kept.expires_at - self.minimum_life
    or kept.obtained_at + self.unknown_life
end

--- The token that is there and may answer, and whether it is time for another.
---@return autopilot.token.SharedToken?
---@return boolean is_fresh
local function look(self, key, ask, now)
  local value = contract.get(self.store, key)
  local kept = decode(self, key, value, now)
  if not kept or now >= usable_until(self, kept) then
    return nil, false
  elseif kept.token == ask.refused or (ask.refresh and not ask.refused) then
    contract.call(self.store, "delete_if", key, value)
    return nil, false
  elseif ask.claims and kept.claims ~= ask.claims then
    return nil, false
  end
  return kept, not kept.fresh_until or now < kept.fresh_until
end

--- Keeps a token that has just come.
local function keep(self, key, ask, token, expires_in, extra, now)
  local seconds = life.of(token, expires_in, now)
  local early = seconds and life.refresh_in(extra, seconds)
  local kept = {
    token = token,
    obtained_at = now,
    expires_at = seconds and now + seconds,
    fresh_until = early and now + early,
    claims = ask.claims,
  }
  local left = usable_until(self, kept) - now
  local value = left > 0 and token ~= ask.refused and encode(self, key, kept)
  if value then
    contract.call(self.store, "set", key, value, left)
  end
end

--- A token of the store's, in the form of a provider's results.
local function hand_out(kept, now)
  local fresh_for = kept.fresh_until and kept.fresh_until - now
  return kept.token,
    kept.expires_at and kept.expires_at - now,
    fresh_for and fresh_for > 0 and { refresh_in = fresh_for } or nil
end

-- ---- One at a time -----------------------------------------------------------------------------------

local function let_go(self, key, claim)
  turns.note(claim.id, nil)
  contract.call(self.store, "delete_if", key .. ":claim", claim.id)
end

--- Asks the provider, and tells the others. An error of the provider's is passed on.
local function ask_provider(self, key, ask, claim)
  local ok, token, expires_in, extra = protected_call(self.provider, ask)
  local now = (ask.now or core.now)()
  if ok and type(token) == "string" and token ~= "" then
    keep(self, key, ask, token, expires_in, extra, now)
  end
  if claim then
    let_go(self, key, claim)
  end
  if not ok then
    error(token, 0)
  end
  return token, expires_in, extra
end

--- Takes the claim; false where another has it, nil where the store cannot tell.
local function take_claim(self, key, ask)
  local claim = { id = core.uuid() }
  local left = ask.deadline and ask.deadline - (ask.now or core.now)() or claim_life
  local seconds = math.max(0, math.min(left, claim_life)) + margin
  local added, message = contract.call(self.store, "add", key .. ":claim", claim.id, seconds)
  if added then
    turns.note(claim.id, claim)
    return claim
  elseif message == "exists" then
    return false
  end
  return nil
end

--- Waits while another asks. True when it is worth to look again.
local function wait(self, key, ask)
  local now, step, slept = ask.now or core.now, first_step, 0
  local began, first = now(), nil
  while true do
    local id = contract.get(self.store, key .. ":claim")
    first = first or id
    if not id or id ~= first then
      return true
    elseif (ask.deadline and now() >= ask.deadline) or now() - began > claim_life + margin then
      return false
    end
    local seconds = turns.let_run(ask.sleep or core.sleep, step, id)
    if not seconds then
      return false
    end
    slept = slept + seconds
    if slept > claim_life + margin then
      return false -- whatever the clock says
    end
    step = math.min(step * step_growth, longest_step)
  end
end

--- Asks as soon as nobody else does, unless what that one got will do.
local function ask_in_turn(self, key, ask)
  local now = ask.now or core.now
  for _ = 1, 100 do
    local claim = take_claim(self, key, ask)
    if claim == nil then
      break
    end
    local kept, is_fresh = look(self, key, ask, now())
    if kept and is_fresh then
      if claim then
        let_go(self, key, claim)
      end
      return hand_out(kept, now())
    elseif claim then
      return ask_provider(self, key, ask, claim)
    elseif not wait(self, key, ask) then
      break
    end
  end
  return ask_provider(self, key, ask) -- nothing is known of others: as without a store
end

--- Makes the provider.
---@param provider autopilot.TokenProvider
---@param given autopilot.token.SharedOptions checked
---@return autopilot.TokenProvider
return function(provider, given)
  local self = {
    provider = provider,
    store = given.store,
    identity = given.identity,
    sealing = given.sealing,
    minimum_life = given.minimum_life,
    unknown_life = given.unknown_life,
  }
  return function(ask)
    local key, now = key_of(self, ask), ask.now or core.now
    local kept, is_fresh = look(self, key, ask, now())
    if kept and is_fresh then
      return hand_out(kept, now())
    end
    local token, second, third = ask_in_turn(self, key, ask)
    if not token and kept and now() < usable_until(self, kept) then
      return hand_out(kept, now()) -- good as it is
    end
    return token, second, third
  end
end
