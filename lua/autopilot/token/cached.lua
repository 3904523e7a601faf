--- Keeps tokens in memory. A provider is called only if there is no usable token, and not twice at the same
-- time for the same token.
--
-- The rules are those of MSAL and Entra's advice. A token with less than five minutes left is not returned. A
-- token is renewed early, when the provider says so or at half of a long life; if that fails, the old token
-- stays in use. If the token endpoint asks for a pause, it is not asked until the pause is over.

local Leases = require "autopilot.base.lease"
local Lru = require "autopilot.base.lru"
local core = require "autopilot.core"
local fetch_once = require "autopilot.token.fetch_once"
local lazy = require "autopilot.base.lazy"
local life = require "autopilot.token.life"
local merged = require "autopilot.base.merged"
local options = require "autopilot.base.options"
local provider_rule = require("autopilot.token.provider").rule

local contract = lazy "autopilot.store.contract"
local stored_token = lazy "autopilot.token.stored_token"

---@class autopilot.token.CachedOptions
---@field minimum_life number? seconds that a token must still be valid; default 300
---@field unknown_life number? seconds for which a token of unknown lifetime is used; default 60
---@field max_entries integer? tokens that are kept, each for a tenant, cloud and scope; default 20000
---@field store autopilot.Store? shares tokens with other processes; needs `identity` and `encryption_key`
---@field identity string? separates the tokens of several applications in the store: e.g. the client id
---@field encryption_key string? at least 32 random bytes, with which tokens are encrypted in the store; needs luaossl

local name = "autopilot.token.cached"

local rules = {
  minimum_life = { type = "number", default = 300, min = 0 },
  unknown_life = { type = "number", default = 60, min = 0 },
  max_entries = { type = "integer", default = 20000, min = 1 },
  store = {
    type = "any",
    secret = true, -- an address may contain a password
    check = function(store)
      return contract.complaint_about(store)
    end,
  },
  identity = {
    type = "string",
    check = function(value)
      return value == "" and "must not be empty" or nil
    end,
  },
  encryption_key = {
    type = "string",
    secret = true,
    check = function(value)
      return #value < 32 and "must have at least 32 random bytes" or nil
    end,
  },
}

-- Seconds from an early renewal that brought no newer token to the next attempt.
local pause_after_failure = 30
-- Seconds. A longer Retry-After of a token endpoint is reduced to this (as in MSAL).
local longest_pause = 3600

-- The cached providers made here, each with the provider that it wraps: none is wrapped in a second cache.
local made_here = setmetatable({}, { __mode = "k" })

--- The cache entry for the requested tenant, cloud and scope: `key`, which contains no secret; `kept`, the
-- token; `failure`, the last one, before whose `ends` (Unix time) the provider is not called.
local function entry_of(self, ask)
  local key = life.key_of(ask)
  local entry = self.entries:find(key)
  if not entry then
    entry = { key = key }
    self.entries:add(entry)
  end
  return entry
end

--- Treats a token as fresh for a while, although it should be renewed.
local function postpone_renewal(kept, now)
  kept.fresh_until, kept.obtained_at = now + pause_after_failure, math.min(kept.obtained_at, now)
end

--- Requests a token from the provider, and keeps it. A failure is kept until its Retry-After ends. Runs in
-- one coroutine at a time for each key.
local function fetch(self, ask)
  local kept, message, details = self.obtain(ask)
  local now, entry = ask.now(), entry_of(self, ask)
  local wait = not kept and type(details) == "table" and life.positive(details.retry_after)
  if kept and kept.token ~= ask.refused then
    kept.obtained_at = now
    if kept.fresh_until <= now then -- from a store: its renewal failed, or another process renews it
      postpone_renewal(kept, now)
    end
    entry.kept, entry.failure = kept, nil
  elseif wait then
    local ends = now + math.min(wait, longest_pause)
    entry.failure = { ends = ends, message = message, details = details }
  end
  return kept, message, details
end

--- Gets a token if there is no fresh one. Returns a usable one if it cannot be renewed, or while another
-- coroutine renews it.
local function renew(self, entry, ask, usable)
  local now, failure, key = ask.now(), entry.failure, entry.key .. (ask.claims or "")
  -- The pause is over after a sleep of that length, even if the sleep ended slightly early.
  local left = failure and failure.ends - math.max(now, ask.waited_until or now) or 0
  local is_pause = left > 0 and left <= longest_pause -- a longer time shows that the clock was set back
  if usable and (is_pause or self.leases:holder(key)) then
    return usable
  elseif is_pause then
    return nil, failure.message, merged(failure.details, { retry_after = left })
  end
  local kept, message, details = fetch_once(self.leases, key, ask, function(watched)
    return fetch(self, watched)
  end)
  now = ask.now()
  if not kept and usable and entry.kept and life.can_answer(entry.kept, ask, now) then
    kept = entry.kept
    postpone_renewal(kept, now)
  end
  return kept, message, details
end

--- The cached provider: returns a token from memory, else from the provider that it wraps.
local function provide(self, ask)
  local now, entry = ask.now(), entry_of(self, ask)
  local kept = entry.kept
  if ask.refresh then -- of the token that `refused` names, or of the one in memory
    ask = merged({ refused = kept and kept.token }, ask)
    if kept and kept.token == ask.refused then
      entry.kept, kept = nil, nil
    end
  end
  local is_usable = kept and life.can_answer(kept, ask, now)
  -- A token obtained in the future shows that the clock was set back: its age is unknown.
  if not is_usable or now < kept.obtained_at or now >= kept.fresh_until then
    local message, details
    kept, message, details = renew(self, entry, ask, is_usable and kept)
    if not kept then
      return nil, message, details
    end
  end
  return kept.token, kept.expires_at and kept.expires_at - ask.now()
end

--- Makes a provider that caches the tokens of another. If that was made here, its own provider is wrapped
-- with the new options instead.
---@param provider autopilot.TokenProvider
---@param given autopilot.token.CachedOptions?
---@return autopilot.TokenProvider
return function(provider, given)
  if made_here[provider] and given == nil then
    return provider
  end
  options.check(name, { provider = provider_rule }, { provider = provider })
  local checked = options.check(name, rules, given)
  provider = made_here[provider] or provider
  local function obtain(ask)
    return life.fetch(provider, ask, checked)
  end
  if checked.store then
    local mistake
    obtain, mistake = stored_token(obtain, checked)
    if not obtain then
      error(name .. ": " .. mistake, 2)
    end
  end
  local self = merged(checked, {
    obtain = obtain,
    entries = Lru.new(checked.max_entries),
    leases = Leases.new(),
  })
  local function cached(ask)
    return provide(self, ask and ask.now and ask or merged({ now = core.now }, ask))
  end
  made_here[cached] = provider
  return cached
end
