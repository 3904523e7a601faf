--- What the clients of one tenant tell each other through a store, in one value for each tenant:
--   sync     when the last known sync was triggered
--   refused  when the last 429 without Retry-After came: a sync was triggered at that time, at the latest
--   refusal  until when the service wants no request
--   result   what the last request came to, for the calls that waited for it (see `shared_answer`)
--
-- Facts are shared, not conclusions: each client adds its own `cooldown` and `cooldown_margin`. Times are
-- Unix times of the clock that all who share the store have in common: one machine's, or those of machines
-- whose clocks are kept right. A value that cannot be read is ignored, and a store that fails counts as an
-- empty one.

local Leases = require "autopilot.base.lease"
local contract = require "autopilot.store.contract"
local dates = require "autopilot.base.dates"
local json = require "autopilot.base.json"
local outcome = require "autopilot.sync.outcome"

---@class autopilot.TenantStore
---@field leases autopilot.Leases of the store
---@field claim_key string the key of the tenant's lease
---@field claim table `autopilot.share.claim`, which sets it
---@field value table? what the last read has found; nil when it failed
---@field sync autopilot.SyncFact? the last sync of which the value told
---@field package store autopilot.Store
---@field package key string
---@field package client autopilot.Client
local TenantStore = {}
TenantStore.__index = TenantStore

-- The first part of every key. Its number changes with the form of the values.
local prefix = "autopilot:2:"

-- Seconds by which the clocks of two machines may differ; a time further ahead is not believed.
local largest_difference = 60
-- Seconds. A refusal is not remembered for longer here.
local longest_refusal = 86400
-- Seconds for which a sync is told by a client that expects no cooldown.
local usual_cooldown = 610
-- Seconds by which two ends of one refusal may differ, as each client counts by its own clock.
local same_time = 0.01
-- Seconds for which a result can be fetched.
local result_life = 60

--- What a client shares of its tenant. Nothing secret is in a key.
---@param client autopilot.Client
---@param store autopilot.Store
---@return autopilot.TenantStore
function TenantStore.new(client, store)
  local key = prefix .. client.base_url:lower() .. ":" .. client.tenant:lower()
  local self = setmetatable({
    client = client,
    store = store,
    key = key,
    claim_key = key .. ":claim",
  }, TenantStore)
  self.leases = Leases.new(function(method, ...)
    return self:call(method, ...)
  end, client.options.now, client.options.clock)
  return self
end

--- Calls a method of the store. Never raises.
---@return any result
---@return string? message why there is none
function TenantStore:call(method, ...)
  local result, message = contract.call(self.store, method, ...)
  if message and message ~= "exists" and self.client.on_event then
    local text = self.client:clean((message:sub(1, 200):gsub("%c", " ")))
    self.client:emit("store_failed", { action = method, message = text })
  end
  return result, message
end

--- Reads the tenant's value, and keeps it as `value`.
---@return table value empty when it is missing or cannot be read
function TenantStore:read()
  local text, message = self:call("get", self.key)
  local value = json.decode(text)
  if type(value) == "table" then
    self.value = value
  else
    self.value = text == nil and not message and {} or nil
  end
  return self.value or {}
end

---@class autopilot.SyncFact
---@field triggered_at number the latest moment at which it can have been triggered, our clock
---@field earliest number? the same, the service's clock; nil when only a refusal tells of it
---@field latest number?

--- A fact in the tenant's value; nil for anything else.
---@param name "sync"|"refused"
---@return autopilot.SyncFact?
local function fact_of(value, name, now)
  local told = type(value[name]) == "table" and value[name] or {}
  local triggered_at = dates.of_text(told.triggered_at)
  local earliest, latest = dates.of_text(told.earliest), dates.of_text(told.latest)
  if not triggered_at or triggered_at > now + largest_difference then
    return nil
  elseif name == "refused" then
    return { triggered_at = triggered_at }
  elseif earliest and latest and earliest <= latest then
    return { triggered_at = triggered_at, earliest = earliest, latest = latest }
  end
end

--- Whether a refusal depends on the tenant alone, and not on the token.
local function is_of_tenant(name)
  return outcome.of({ outcome = name }).source == "tenant"
end

--- Until when the service wants no request. A refusal from the future was told before the clock was set back:
-- it lasts as long from now on as it did then.
---@return number? ends nil when there is none
---@return string? outcome
local function refusal_of(value, now)
  local told = type(value.refusal) == "table" and value.refusal or {}
  local told_at, seconds = dates.of_text(told.told_at), told.seconds
  local is_right = told_at
    and type(seconds) == "number"
    and seconds <= longest_refusal
    and is_of_tenant(told.outcome)
  local ends = is_right and math.min(told_at, now) + seconds
  if ends and ends > now then
    return ends, told.outcome
  end
end

--- Seconds for which a fact matters.
local function life_of(memory, fact, now)
  local cooldown = memory.cooldown > 0 and memory.cooldown + memory.margin or usual_cooldown
  return fact and fact.triggered_at + cooldown - now or 0
end

--- Adds a fact to the tenant's value where that tells of none as late. True when the value has changed.
local function add_fact(memory, value, name, fact, now)
  local told = fact_of(value, name, now)
  if life_of(memory, fact, now) <= 0 or told and told.triggered_at >= fact.triggered_at then
    return false
  end
  value[name] = {
    triggered_at = dates.to_text(fact.triggered_at),
    earliest = dates.to_text(fact.earliest),
    latest = dates.to_text(fact.latest),
  }
  return true
end

--- Adds to the tenant's value what the client knows and the value does not tell. True when it has changed.
local function add_news(memory, value, now)
  local refused_at = memory.bound_until and memory.bound_since
  local has_sync = add_fact(memory, value, "sync", memory:latest_sync(), now)
  local has_refused =
    add_fact(memory, value, "refused", refused_at and { triggered_at = refused_at }, now)
  local ends = is_of_tenant(memory.held_as) and memory:held_until(now)
  if not ends or ends <= (refusal_of(value, now) or 0) + same_time then
    return has_sync or has_refused
  end
  local seconds = math.min(ends - now, longest_refusal)
  value.refusal = { told_at = dates.to_text(now), seconds = seconds, outcome = memory.held_as }
  return true
end

--- Tells what the client knows, and the result of its request. Of two clients that tell something at the
-- same time one may not be heard: then another client sends one request that is refused.
---@param now number
---@param result table? see `shared_answer`
---@param value table? the tenant's, where nothing newer can be in the store; default: it is read
function TenantStore:tell(now, result, value)
  local memory = self.client.memory
  value = value or self:read()
  local has_news = add_news(memory, value, now)
  value.result = result or value.result
  if not has_news and not result then
    return
  end
  -- The value lasts as long as one of its parts matters.
  local life = math.max(
    value.result and result_life or 0,
    life_of(memory, fact_of(value, "sync", now), now),
    life_of(memory, fact_of(value, "refused", now), now),
    (refusal_of(value, now) or now) - now
  )
  local text = life > 0 and json.encode(value)
  if text then
    self:call("set", self.key, text, life)
  end
end

--- Learns what others have told.
---@param now number
---@return table value the tenant's
function TenantStore:learn(now)
  local memory, value = self.client.memory, self:read()
  local refused = fact_of(value, "refused", now)
  self.sync = fact_of(value, "sync", now)
  if self.sync then
    memory:note_others(self.sync)
  end
  if refused then
    memory:note_others(refused)
  end
  local ends, name = refusal_of(value, now)
  -- Learnt once: the memory counts its time by a clock that is never set.
  if ends and value.refusal.told_at ~= self.learnt_refusal then
    self.learnt_refusal = value.refusal.told_at
    memory:note_refused(name, ends, now)
  end
  return value
end

--- Learns what others have told, and tells them what they do not know.
---@param now number
function TenantStore:exchange(now)
  self:tell(now, nil, self:learn(now))
end

return TenantStore
