--- Tokens in a store, for all processes that use it: fetched by one of them at a time, which holds a lease.
--
-- A store that fails, and a value that cannot be read, count as an empty store. All who share a store are
-- expected to have the same clock.

local Leases = require "autopilot.base.lease"
local core = require "autopilot.core"
local contract = require "autopilot.store.contract"
local json = require "autopilot.base.json"
local life = require "autopilot.token.life"
local protected_call = require "autopilot.base.protected_call"

---@class autopilot.token.StoredTokensOptions
---@field provider autopilot.TokenProvider asked when the store has no token
---@field store autopilot.Store
---@field identity string whose tokens these are: the application's client id, say
---@field sealing autopilot.token.SealedText? nil: tokens are kept as they are
---@field minimum_life number seconds
---@field unknown_life number seconds

---@class autopilot.token.StoredTokens: autopilot.token.StoredTokensOptions
---@field package leases autopilot.Leases
local StoredTokens = {}
StoredTokens.__index = StoredTokens

-- The first part of every key. Its number changes with the form of the values.
local prefix = "autopilot:1:token:"

-- Seconds. A lease lasts as long as a request may take, and a margin; the holder's deadline shortens it.
local lease_time, margin = 60, 10
-- Seconds by which the clocks of two machines may differ; a time further ahead is not believed.
local largest_difference = 60
-- How often a lease is tried to be taken, before the provider is asked without one.
local most_tries = 100

---@param given autopilot.token.StoredTokensOptions
---@return autopilot.token.StoredTokens
function StoredTokens.new(given)
  local self, store = setmetatable(given, StoredTokens), given.store
  self.leases = Leases.new(function(method, key, ...)
    return contract.call(store, method, key, ...)
  end)
  return self
end

local function encode(self, key, kept)
  -- Whole seconds, as JSON keeps 14 digits of a number.
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

--- Reads what `encode` has written; nil for anything else.
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

--- The token in the store when it answers what is asked. One that was refused is deleted.
---@return autopilot.token.Kept? kept
---@return boolean is_fresh false: it is time for another
local function look(self, key, ask)
  local now, value = ask.now(), contract.get(self.store, key)
  local kept = decode(self, key, value, now)
  if not kept or now >= life.usable_until(kept, self) then
    return nil, false
  elseif kept.token == ask.refused or (ask.refresh and not ask.refused) then
    contract.call(self.store, "delete_if", key, value)
    return nil, false
  elseif not life.can_answer(kept, ask, now, self) then
    return nil, false
  end
  return kept, not kept.fresh_until or now < kept.fresh_until
end

--- Asks the provider, and puts its token into the store. An error of the provider is passed on.
local function ask_provider(self, key, ask, lease)
  local ok, kept, message, details = protected_call(life.fetch, self.provider, ask)
  local left = ok and kept and life.usable_until(kept, self) - ask.now() or 0
  local value = left > 0 and kept.token ~= ask.refused and encode(self, key, kept)
  if value then
    contract.call(self.store, "set", key, value, left)
  end
  if lease then
    lease:release()
  end
  if not ok then
    error(kept, 0)
  end
  return kept, message, details
end

--- Takes a token that another process puts into the store, or asks the provider while no other process does.
local function ask_in_turn(self, key, ask)
  local now = ask.now
  local waiting = {
    sleep = ask.sleep,
    now = now,
    deadline = ask.deadline,
    longest = lease_time + margin,
  }
  for _ = 1, most_tries do
    local left = ask.deadline and ask.deadline - now() or lease_time
    local seconds = math.max(0, math.min(left, lease_time)) + margin
    local lease, message = self.leases:take(key .. ":claim", seconds)
    if not lease and message ~= "exists" then
      break
    end
    local kept, is_fresh = look(self, key, ask)
    if kept and is_fresh then
      if lease then
        lease:release()
      end
      return kept
    elseif lease then
      return ask_provider(self, key, ask, lease)
    elseif self.leases:wait(key .. ":claim", waiting) ~= "over" then
      break
    end
  end
  return ask_provider(self, key, ask) -- as without a store
end

--- A token out of the store, else of the provider.
---@param ask autopilot.TokenAsk with `now`
---@return autopilot.token.Kept? kept nil when there is no token
---@return any message
---@return any details
function StoredTokens:obtain(ask)
  local tenant = ask.tenant and ask.tenant:lower()
  local key = prefix .. life.key_of(self.identity, tenant, ask.cloud, ask.scope)
  local kept, is_fresh = look(self, key, ask)
  if kept and is_fresh then
    return kept
  end
  local newer, message, details = ask_in_turn(self, key, ask)
  if not newer and kept and ask.now() < life.usable_until(kept, self) then
    return kept -- it cannot be renewed, and can still be used
  end
  return newer, message, details
end

return StoredTokens
