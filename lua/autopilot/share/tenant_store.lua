--- What the clients of one tenant tell each other through a store, in one value for each tenant:
--   sync     when the last known sync was triggered
--   refused  when the last 429 without Retry-After came: a sync was triggered at that time, at the latest
--   refusal  that the service wants no request for so many seconds
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
---@field package refusal_id string? which `refusal` was learnt or told last
---@field package refusal_ends number? when that ends; nil: it is over
---@field package store autopilot.Store
---@field package key string
---@field package client autopilot.Client
local TenantStore = {}
TenantStore.__index = TenantStore

-- The first part of every key. Its number changes with the form of the values.
local prefix = "autopilot:3:"

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
  end, client.options.clock)
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

--- A fact in the tenant's value; nil for anything else.
---@param name "sync"|"refused"
---@return autopilot.SyncFact?
local function fact_of(self, value, name)
  local client, told = self.client, type(value[name]) == "table" and value[name] or {}
  local seconds = dates.of_text(told.triggered_at)
  local earliest, latest = dates.of_text(told.earliest), dates.of_text(told.latest)
  if not seconds then
    return nil
  end
  local _, triggered_at = client.service_clock:of_unix(seconds)
  if triggered_at > client.options.clock() + largest_difference then
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

--- Learns of the Retry-After that another was told. The store has a second key for as long as it lasts, since no
-- reader can tell from a Unix time how long ago that was.
local function learn_refusal(self, value)
  local client, told = self.client, type(value.refusal) == "table" and value.refusal or {}
  local told_at, seconds = dates.of_text(told.told_at), told.seconds
  local is_right = told_at
    and type(seconds) == "number"
    and seconds <= longest_refusal
    and is_of_tenant(told.outcome)
  if not is_right or told.told_at == self.refusal_id then
    return
  end
  self.refusal_id, self.refusal_ends = told.told_at, nil
  if self:call("get", self.key .. ":refusal") == told.told_at then
    local moment = math.min(client.service_clock:of_unix(told_at), client.options.clock())
    client.memory:note_refused(told.outcome, seconds, moment)
    self.refusal_ends = moment + seconds
  end
end

--- Seconds for which a fact matters.
local function life_of(self, fact)
  local memory = self.client.memory
  local cooldown = memory.cooldown > 0 and memory.cooldown + memory.margin or usual_cooldown
  return fact and fact.triggered_at + cooldown - self.client.options.clock() or 0
end

--- Adds a fact to the tenant's value where that tells of none as late. True when the value has changed.
local function add_fact(self, value, name, fact)
  local told = fact_of(self, value, name)
  local is_old = told and fact and told.triggered_at >= fact.triggered_at - same_time
  if is_old or life_of(self, fact) <= 0 then
    return false
  end
  value[name] = {
    triggered_at = dates.to_text(self.client.service_clock:to_unix(fact.triggered_at)),
    earliest = dates.to_text(fact.earliest),
    latest = dates.to_text(fact.latest),
  }
  return true
end

--- Tells of the Retry-After that the client was told, where it lasts longer than what the store tells of. True when
-- the value has changed.
local function add_refusal(self, value)
  local client, memory = self.client, self.client.memory
  local ends, now = memory.held_until, client.options.clock()
  local is_told = (value.refusal or {}).told_at == self.refusal_id and self.refusal_ends
  if
    not ends
    or ends <= now
    or not is_of_tenant(memory.held_as)
    or (is_told and ends <= self.refusal_ends + same_time)
  then
    return false
  end
  local id, seconds = dates.to_text(client.service_clock:to_unix(now)), ends - now
  seconds = math.min(seconds, longest_refusal)
  value.refusal = { told_at = id, seconds = seconds, outcome = memory.held_as }
  self.refusal_id, self.refusal_ends = id, ends
  self:call("set", self.key .. ":refusal", id, seconds)
  return true
end

--- Learns what others have told.
---@return table value the tenant's
function TenantStore:learn()
  local memory, value = self.client.memory, self:read()
  local refused = fact_of(self, value, "refused")
  self.sync = fact_of(self, value, "sync")
  if self.sync then
    memory:note_others(self.sync)
  end
  if refused then
    memory:note_others(refused)
  end
  learn_refusal(self, value)
  return value
end

--- Learns what others have told, and tells them what the client knows and they do not, and the result of its
-- request. Of two clients that tell something at the same time one may not be heard: then another client sends
-- one request that is refused.
---@param result table? see `shared_answer`
---@param value table? the tenant's, where nothing newer can be in the store; default: it is read
function TenantStore:tell(result, value)
  local memory = self.client.memory
  value = value or self:learn()
  local refused_at = memory:unexplained_refusal()
  local has_sync = add_fact(self, value, "sync", memory.known)
  local has_refused = add_fact(self, value, "refused", refused_at and { triggered_at = refused_at })
  local has_refusal = add_refusal(self, value)
  value.result = result or value.result
  if not (has_sync or has_refused or has_refusal or result) then
    return
  end
  -- The value lasts as long as one of its parts matters.
  local life = math.max(
    value.result and result_life or 0,
    life_of(self, fact_of(self, value, "sync")),
    life_of(self, fact_of(self, value, "refused")),
    (self.refusal_ends or -math.huge) - self.client.options.clock()
  )
  local text = life > 0 and json.encode(value)
  if text then
    self:call("set", self.key, text, life)
  end
end

return TenantStore
