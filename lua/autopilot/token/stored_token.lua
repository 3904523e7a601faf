--- Tokens in a store, for all processes that use it: fetched by one of them at a time, which holds a lease.
--
-- A store that fails, and a value that cannot be read, count as an empty store. All processes that share a
-- store are expected to have the same time.

local Leases = require "autopilot.base.lease"
local core = require "autopilot.core"
local contract = require "autopilot.store.contract"
local json = require "autopilot.base.json"
local life = require "autopilot.token.life"
local protected_call = require "autopilot.base.protected_call"

---@class autopilot.token.StoredTokens: autopilot.token.Limits
---@field provider autopilot.TokenProvider asked when the store has no token
---@field store autopilot.Store
---@field identity string whose tokens these are: the application's client id, say
---@field sealing autopilot.token.SealedText? nil: tokens are kept as they are
---@field package leases autopilot.Leases?

-- The first part of every key. Its number changes with the form of the values.
local prefix = "autopilot:1:token:"

-- Seconds. A lease lasts as long as a request may take, and a margin; the holder's deadline shortens it.
local lease_time, margin = 60, 10
-- Seconds by which the clocks of two machines may differ; a time further ahead is not believed.
local largest_difference = 60
-- How often a lease is tried to be taken, before the provider is asked without one.
local most_tries = 100

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

--- Reads what `encode` has written; nil for anything else.
local function decode(self, key, value, now)
  if value and self.sealing then
    value = self.sealing:open(key, value)
  end
  local kept = json.decode(value)
  local is_kept = type(kept) == "table"
    and type(kept.token) == "string"
    and core.is_header_text(kept.token)
    and kept.token ~= ""
    and type(kept.obtained_at) == "number"
    and kept.obtained_at <= now + largest_difference
    and type(kept.expires_at or 0) == "number"
    and type(kept.fresh_until or 0) == "number"
    and type(kept.claims or "") == "string"
  return is_kept and kept or nil
end

--- The token in the store when it answers what is asked, and whether it needs no renewal yet. One that was
-- refused is deleted.
local function look(self, key, ask)
  local now, value = ask.now(), contract.get(self.store, key)
  local kept = decode(self, key, value, now)
  if not kept then
    return nil
  elseif kept.token == ask.refused or (ask.refresh and not ask.refused) then
    contract.call(self.store, "delete_if", key, value)
  elseif life.can_answer(kept, ask, self) then
    return kept, not kept.fresh_until or now < kept.fresh_until
  end
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

--- The token in the store that is fresh, which another process may put there meanwhile; or else the lease to ask
-- the provider for one. Neither comes where the store fails, or where there is no more time to wait.
local function look_or_take(self, key, ask)
  local claim = key .. ":claim"
  local kept, is_fresh, lease, message
  for _ = 1, most_tries do
    kept, is_fresh = look(self, key, ask)
    if is_fresh or lease then
      break
    end
    local left = ask.deadline and ask.deadline - ask.now() or math.huge
    lease, message = self.leases:take(claim, math.max(0, math.min(left, lease_time)) + margin)
    local waiting =
      { sleep = ask.sleep, now = ask.now, seconds = math.min(left, lease_time + margin) }
    if not lease and (message ~= "exists" or self.leases:wait(claim, waiting) ~= "over") then
      break
    end
  end
  return kept, is_fresh, lease
end

--- Makes a function that gets a token out of the store, else of the provider.
---@param self autopilot.token.StoredTokens
---@return fun(ask: autopilot.TokenAsk): autopilot.token.Kept?, any, any obtain `ask` has `now`
return function(self)
  self.leases = Leases.new(function(method, key, ...)
    return contract.call(self.store, method, key, ...)
  end)
  return function(ask)
    local tenant = ask.tenant and ask.tenant:lower()
    local key = prefix .. life.key_of(self.identity, tenant, ask.cloud, ask.scope)
    local kept, is_fresh, lease = look_or_take(self, key, ask)
    if is_fresh then
      if lease then
        lease:release()
      end
      return kept
    end
    local newer, message, details = ask_provider(self, key, ask, lease)
    if not newer and kept and ask.now() < life.usable_until(kept, self) then
      return kept -- it cannot be renewed, and can still be used
    end
    return newer, message, details
  end
end
