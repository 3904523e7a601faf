--- Keeps tokens: asks a provider only when it must, and never twice at once for the same.
--
-- The rules, from MSAL and Entra's advice: a token is not handed out with less than five minutes left;
-- it is renewed early, when the provider says so or at half of a long life, and is handed out further
-- when that fails; what the token endpoint wants to be left alone for is remembered. Who waits for
-- whom is in `single_flight`, what is kept in `cache`.

local Cache = require "autopilot.token.cache"
local SingleFlight = require "autopilot.token.single_flight"
local core = require "autopilot.core"
local life = require "autopilot.token.life"
local options = require "autopilot.base.options"

---@class autopilot.token.CachedOptions
---@field minimum_life number? seconds that a token must have left; default 300
---@field unknown_life number? seconds for which a token is kept that does not tell how long it is good; default 60
---@field max_entries integer? tokens that are kept, each for a tenant, cloud and scope; default 20000
---@field store autopilot.Store? keeps them for all workers too; needs `identity`, and `encryption_key` or `share`
---@field identity string? whose tokens these are among those in the store: the application's client id, say
---@field encryption_key string? at least 32 random bytes, with which tokens are encrypted in the store; needs luaossl
---@field share "plain"|false|nil `plain`: tokens are in the store as they are; false: they are kept out of it

local name = "autopilot.token.cached"

local rules = {
  minimum_life = { type = "number", default = 300, min = 0 },
  unknown_life = { type = "number", default = 60, min = 0 },
  max_entries = { type = "integer", default = 20000, min = 1 },
  store = {
    type = "table",
    check = function(store)
      return require("autopilot.store.contract").complaint_about(store)
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
  share = {
    type = { "string", "boolean" },
    check = function(value)
      return value ~= "plain" and value ~= false and "must be 'plain' or false" or nil
    end,
  },
}

-- Somebody may give a token for it, so what was given is never quoted.
local provider_rules = { provider = { type = "function", required = true, secret = true } }

-- So long after an early renewal that failed comes the next.
local pause_after_failure = 30
-- Nothing is left alone for longer (MSAL).
local longest_block = 3600

local never = -math.huge

-- Functions that were made here, and what they ask: none is wrapped twice.
local made_here = setmetatable({}, { __mode = "k" })

--- Keeps a token that has just come.
local function keep(self, entry, token, seconds, extra, claims, now)
  entry.token, entry.claims = token, claims
  entry.obtained_at = now
  entry.expires_at = seconds and now + seconds
  entry.usable_until = now + (seconds and seconds - self.minimum_life or self.unknown_life)
  local early = seconds and life.refresh_in(extra, seconds)
  entry.fresh_until = early and math.min(now + early, entry.usable_until) or entry.usable_until
  entry.blocked_until, entry.failure = nil, nil
end

local function forget(entry)
  entry.token, entry.claims = nil, nil
  entry.obtained_at, entry.expires_at = nil, nil
  entry.usable_until, entry.fresh_until = never, never
end

--- Remembers for how long the provider's service wants to be left alone.
local function note_failure(entry, message, details, now)
  local wait = type(details) == "table" and life.positive(details.retry_after)
  if wait then
    entry.blocked_until = now + math.min(wait, longest_block)
    entry.failure = { message = message, details = details }
  end
end

--- Asks the provider, and keeps what it says. Runs once at a time for a key.
---@return string? token
---@return any expires_at Unix seconds, nil when unknown; without a token the message
---@return any details
local function fetch(self, ask, refused)
  local token, second, third = self.provider(ask)
  local now = (ask.now or core.now)()
  local entry = self.cache:open(ask.tenant, ask.cloud, ask.scope)
  if type(token) ~= "string" or token == "" then
    note_failure(entry, second, third, now)
    return nil, second, third
  end
  local seconds = life.of(token, second, now)
  if token ~= refused then
    keep(self, entry, token, seconds, third, ask.claims, now)
  end
  return token, seconds and now + seconds
end

--- The failure that is remembered, with what is left of its time.
local function blocked_failure(entry, now)
  local left = entry.blocked_until and entry.blocked_until - now
  -- More than was ever set: the clock was set back, and says nothing.
  if not left or left <= 0 or left > longest_block then
    return nil
  end
  local details = { retry_after = left }
  for key, value in pairs(entry.failure.details) do
    details[key] = details[key] or value
  end
  return entry.failure.message, details
end

--- Whether its token may be handed out without a further thought. One that is to come yet came before
-- the clock was set back, and its age is not known.
local function is_fresh(entry, now)
  return entry.token ~= nil and now < entry.fresh_until and now >= entry.obtained_at
end

--- Takes out the token that was refused. Without knowledge which one that was, it is the one we have.
local function drop_refused(entry, ask)
  local refused = ask.refused or entry.token
  if entry.token == refused then
    forget(entry)
  end
  return refused
end

--- Whether what the cache has may answer at all, and was not refused for its claims.
local function is_usable(entry, ask, now)
  return entry.token ~= nil
    and now < entry.usable_until
    and (ask.claims == nil or entry.claims == ask.claims)
end

local function hand_out(entry, now)
  return entry.token, entry.expires_at and entry.expires_at - now
end

--- Asks the provider, or whoever is asking it just now.
local function fetch_once(self, ask, entry, refused)
  local key = entry.key .. (ask.claims or "")
  local function ask_provider(watched)
    return fetch(self, watched, refused)
  end
  local joined, token, second, third = self.flights:run(key, ask, ask_provider)
  if joined and token and token == refused then
    -- That fetch did not know that this one had been refused.
    local _
    _, token, second, third = self.flights:run(key .. "\0again", ask, ask_provider)
  end
  return token, second, third
end

--- For everything but a fresh token.
local function provide_slowly(self, ask, now)
  local read_clock = ask.now or core.now
  local entry = self.cache:open(ask.tenant, ask.cloud, ask.scope)
  local refused = ask.refresh and drop_refused(entry, ask) or nil
  local has_token = is_usable(entry, ask, now)
  if has_token and is_fresh(entry, now) then
    return hand_out(entry, now) -- somebody has replaced the refused one already
  end
  -- A wait that is over stays over, also where the sleep ended a moment early.
  local message, details = blocked_failure(entry, math.max(now, ask.waited_until or now))
  if has_token and (message or self.flights:is_flying(entry.key .. (ask.claims or ""))) then
    return hand_out(entry, now)
  elseif message then
    return nil, message, details
  end
  local token, second, third = fetch_once(self, ask, entry, refused)
  now = read_clock()
  if token then
    return token, second and second - now
  elseif has_token and is_usable(entry, ask, now) then
    -- Good as it is. The next to ask must not wait for the same failure.
    entry.fresh_until = math.min(now + pause_after_failure, entry.usable_until)
    entry.obtained_at = now
    return hand_out(entry, now)
  end
  return nil, second, third
end

--- The provider that is to be asked: where tokens are shared, one that looks into the store first.
---@return autopilot.TokenProvider?
---@return string? mistake of the caller's
local function with_store(provider, checked)
  if not checked.store or checked.share == false then
    return provider
  elseif not checked.identity then
    return nil, "option 'store' needs option 'identity': whose tokens these are"
  end
  local sealing
  if checked.share ~= "plain" then
    local key = checked.encryption_key
    if not key then
      return nil, "option 'store' needs option 'encryption_key', or share = 'plain'"
    end
    local problem
    sealing, problem = require("autopilot.token.sealed_text").new(key)
    if not sealing then
      return nil, "option 'encryption_key' " .. problem
    end
  end
  return require "autopilot.token.stored_token"(provider, {
    store = checked.store,
    identity = checked.identity,
    sealing = sealing,
    minimum_life = checked.minimum_life,
    unknown_life = checked.unknown_life,
  })
end

--- Makes a provider that keeps the tokens of another. One that was made here gets the options that are
-- given now.
---@param provider autopilot.TokenProvider
---@param given autopilot.token.CachedOptions?
---@return autopilot.TokenProvider
local function new(provider, given)
  if made_here[provider] and given == nil then
    return provider
  end
  options.check(name, provider_rules, { provider = provider })
  local checked = options.check(name, rules, given)
  provider = made_here[provider] or provider
  local asked, mistake = with_store(provider, checked)
  if not asked then
    error(name .. ": " .. mistake, 2)
  end
  local self = {
    provider = asked,
    minimum_life = checked.minimum_life,
    unknown_life = checked.unknown_life,
    cache = Cache.new(checked.max_entries),
    flights = SingleFlight.new(),
  }
  local cache = self.cache
  local function provide(ask)
    ask = ask or {}
    local now = (ask.now or core.now)()
    local entry = cache:find(ask.tenant, ask.cloud, ask.scope)
    if entry and is_fresh(entry, now) and not ask.refresh and not ask.claims then
      return hand_out(entry, now)
    end
    return provide_slowly(self, ask, now)
  end
  made_here[provide] = provider
  return provide
end

return new
