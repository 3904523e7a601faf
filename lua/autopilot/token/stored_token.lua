--- Tokens in a store, for all processes that use it: fetched by one of them at a time, which holds a lease.
--
-- A store that fails, and a value that cannot be read, count as an empty store. All processes that share a
-- store are expected to have the same time.

local Leases = require "autopilot.base.lease"
local complaint_about = require("autopilot.base.options").token_complaint
local contract = require "autopilot.store.contract"
local fetch_once = require "autopilot.token.fetch_once"
local json = require "autopilot.base.json"
local life = require "autopilot.token.life"
local merged = require "autopilot.base.merged"
local sealed_text = require "autopilot.token.sealed_text"

-- The first part of every key. Its number changes with the form of the values.
local prefix = "autopilot:2:token:"

-- Seconds by which the clocks of two machines may differ; a token from further ahead is ignored.
local largest_difference = 60

--- Reads a value of the store; nil for anything that `fetch` has not written.
local function decode(self, key, value, now)
  local kept = json.decode(value and self.sealing.open(key, value))
  local is_kept = type(kept) == "table"
    and not complaint_about(kept.token)
    and type(kept.obtained_at) == "number"
    and kept.obtained_at <= now + largest_difference
    and type(kept.expires_at or 0) == "number"
    and type(kept.fresh_until or 0) == "number"
    and type(kept.claims or "") == "string"
  return is_kept and life.limit(kept, self) or nil
end

--- The token in the store if it meets the request, and whether it needs no renewal yet. One that was
-- refused is deleted.
local function find(self, key, ask)
  local now, value = ask.now(), contract.call(self.store, "get", key)
  local kept = decode(self, key, value, now)
  if not kept then
    return nil
  elseif kept.token == ask.refused or (ask.refresh and not ask.refused) then
    contract.call(self.store, "delete_if", key, value)
  elseif life.can_answer(kept, ask, now) then
    return kept, now < kept.fresh_until
  end
end

--- Fetches a token, and puts it into the store.
local function fetch(self, key, ask)
  local kept, message, details = self.fetch(ask)
  local left = kept and kept.usable_until - ask.now() or 0
  local text = left > 0 and kept.token ~= ask.refused and json.encode(kept)
  local value = text and self.sealing.seal(key, text)
  if value then
    contract.call(self.store, "set", key, value, left)
  end
  return kept, message, details
end

--- Makes a function that gets a token from the store, else by `fetch_token`; or returns nil and a
-- caller's mistake.
---@param fetch_token fun(ask: autopilot.TokenAsk): autopilot.token.Kept?, any, any
---@param given autopilot.token.CachedOptions with a store
---@return (fun(ask: autopilot.TokenAsk): autopilot.token.Kept?, any, any)? obtain, string? mistake
return function(fetch_token, given)
  if not given.identity then
    return nil, "option 'store' needs option 'identity': whose tokens these are"
  elseif not given.encryption_key then
    return nil, "option 'store' needs option 'encryption_key'"
  end
  local sealing, missing = sealed_text.new(given.encryption_key)
  if not sealing then
    return nil, "option 'encryption_key' " .. missing
  end
  local leases = Leases.new(function(method, key, ...)
    return contract.call(given.store, method, key, ...)
  end)
  local identity = prefix .. #given.identity .. ":" .. given.identity
  local self = merged(given, { fetch = fetch_token, sealing = sealing })
  return function(ask)
    local key = identity .. life.key_of(ask)
    local kept, is_fresh = find(self, key, ask)
    if is_fresh then
      return kept
    end
    local newer, message, details = fetch_once(leases, key .. ":claim", ask, function(watched)
      kept, is_fresh = find(self, key, watched)
      if is_fresh then
        return kept
      end
      return fetch(self, key, watched)
    end, kept)
    if not newer and kept and ask.now() < kept.usable_until then
      return kept -- it cannot be renewed, and can still be used
    end
    return newer, message, details
  end
end
