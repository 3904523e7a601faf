--- The data that the clients of a tenant share through a store: one value for each tenant, with these fields:
--   sync     when the last known sync was triggered, or when a 429 without Retry-After came
--   refusal  the last Retry-After
--   result   the answer to the last request, for the calls that wait for it (see `shared_answer`)
--   ended    the id of the last claim whose holder had no such answer
--
-- Each client adds its own `cooldown` and `cooldown_margin` to the time of the sync. Times are Unix times:
-- all clients must run on one machine, or on machines with synchronised clocks. A value that cannot be read
-- is ignored, and a store that fails counts as empty.

local Leases = require "autopilot.base.lease"
local contract = require "autopilot.store.contract"
local dates = require "autopilot.base.dates"
local json = require "autopilot.base.json"
local merged = require "autopilot.base.merged"
local outcome = require "autopilot.sync.outcome"

---@class autopilot.TenantStore
---@field leases autopilot.Leases of the store
---@field claim_key string the key of the tenant's lease
---@field value table? the value read last; nil if the read failed
local TenantStore = {}
TenantStore.__index = TenantStore

-- The first part of every key. Its number is the version of the values' format.
local prefix = "autopilot:3:"

-- Seconds by which the clocks of two machines may differ; a time further in the future is ignored.
local largest_difference = 60
-- Seconds for which a refusal is stored at most.
local longest_refusal = 86400
-- Seconds for which a sync is stored by a client that has no `cooldown`.
local usual_cooldown = 610
-- Seconds by which two times of the same event may differ, due to conversion between clocks.
local same_time = 0.01
-- Seconds for which a result is stored.
local result_life = 60

--- Makes a client's access to the shared data of its tenant. Keys contain no secrets.
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

-- ---- The tenant's value ------------------------------------------------------------------------------

--- Whether a refusal depends on the tenant alone, and not on the token.
local function is_of_tenant(name)
  return outcome.of({ outcome = name }).source == "tenant"
end

--- Converts the `sync` of a stored value; nil if it is not valid.
local function sync_of(client, stored)
  local seconds = type(stored) == "table" and dates.of_text(stored.triggered_at)
  if not seconds then
    return nil
  end
  local _, triggered_at = client.service_clock:of_unix(seconds)
  local earliest, latest = dates.of_text(stored.earliest), dates.of_text(stored.latest)
  if triggered_at > client.options.clock() + largest_difference then
    return nil
  elseif earliest and latest and earliest <= latest then
    return { triggered_at = triggered_at, earliest = earliest, latest = latest, stored = stored }
  end
  return { triggered_at = triggered_at, stored = stored }
end

--- Returns the `refusal` of a stored value; nil if it is not valid.
local function refusal_of(stored)
  local is_right = type(stored) == "table"
    and dates.of_text(stored.told_at)
    and type(stored.seconds) == "number"
    and stored.seconds <= longest_refusal
    and is_of_tenant(stored.outcome)
  return is_right and stored or nil
end

--- Reads the tenant's value, and keeps it as `value`.
---@return table value empty when it is missing or cannot be read
local function read(self)
  local text, message = self:call("get", self.key)
  local client, stored = self.client, json.decode(text, true)
  if type(stored) == "table" then
    self.value = {
      sync = sync_of(client, stored.sync),
      refusal = refusal_of(stored.refusal),
      result = stored.result,
      ended = stored.ended,
      stored = stored,
    }
  else
    self.value = text == nil and not message and {} or nil
  end
  return self.value or {}
end

-- ---- Reading and updating the value ------------------------------------------------------------------

--- Seconds until the cooldown of a sync ends.
local function life_of(self, sync)
  local cooldown, options = self.client.memory.cooldown, self.client.options
  local seconds = cooldown > 0 and cooldown + options.cooldown_margin or usual_cooldown
  return sync and sync.triggered_at + seconds - options.clock() or 0
end

--- Applies a Retry-After that another client received. Its second key in the store expires when it ends,
-- because a Unix time does not show reliably how long ago that was.
local function learn_refusal(self, stored)
  if not stored or stored.told_at == self.refusal_id then
    return
  end
  local found, message = self:call("get", self.key .. ":refusal")
  if message then
    return -- it is asked for again the next time
  end
  self.refusal_id, self.refusal_ends = stored.told_at, nil
  if found == stored.told_at then
    local client = self.client
    local told_at = client.service_clock:of_unix(dates.of_text(stored.told_at))
    told_at = math.min(told_at, client.options.clock())
    client.memory:note_refused(stored.outcome, stored.seconds, told_at)
    self.refusal_ends = told_at + stored.seconds
  end
end

--- Sets the value's `sync` to the latest that the client knows, unless the value has it. True if the value
-- has changed.
local function add_sync(self, value)
  local stored, sync = value.sync, self.client.memory:latest_fact()
  local is_stored = stored
    and sync
    and stored.triggered_at >= sync.triggered_at - same_time
    and (stored.earliest ~= nil or sync.earliest == nil) -- else the client's explains the stored refusal
  if is_stored or life_of(self, sync) <= 0 then
    return false
  end
  -- What another client has stored keeps its texts: a client whose clock was set may take it for a later one.
  local texts = sync.stored
    or {
      triggered_at = dates.to_text(self.client.service_clock:to_unix(sync.triggered_at)),
      earliest = dates.to_text(sync.earliest),
      latest = dates.to_text(sync.latest),
    }
  value.sync = merged(sync, { stored = texts })
  return true
end

--- Sets the value's `refusal` to the client's Retry-After, if that ends later. True if the value has changed.
local function add_refusal(self, value)
  local client, memory = self.client, self.client.memory
  local ends, now = memory.held_until, client.options.clock()
  local is_stored = value.refusal and value.refusal.told_at == self.refusal_id
  local stored_until = is_stored and self.refusal_ends or now
  if ends <= stored_until + same_time or not is_of_tenant(memory.held_as) then
    return false
  end
  local told_at = dates.to_text(client.service_clock:to_unix(now))
  local seconds = math.min(ends - now, longest_refusal)
  value.refusal = { told_at = told_at, seconds = seconds, outcome = memory.held_as }
  self.refusal_id, self.refusal_ends = told_at, ends
  self:call("set", self.key .. ":refusal", told_at, seconds)
  return true
end

--- Reads the tenant's value, and adds it to what the client knows.
function TenantStore:learn()
  local value, memory = read(self), self.client.memory
  local sync = value.sync
  if sync and not sync.earliest then -- a refusal without a known end
    memory:note_refused("cooldown", nil, sync.triggered_at)
  elseif sync and (memory.newest_trigger or -math.huge) < sync.earliest then
    memory:note_sync(sync)
  end
  learn_refusal(self, value.refusal)
  return value
end

--- Reads the tenant's value, adds what the client knows beyond it and the result of its request, and writes
-- it. If two clients write at the same time, one value may be lost: then another client sends one request
-- that is refused.
---@param result table? see `shared_answer`
---@param value table? the tenant's value, if the store cannot have a newer one; default: it is read
---@param ended string? the id of a claim whose holder has no answer to store
function TenantStore:write(result, value, ended)
  value = value or self:learn()
  local has_sync, has_refusal = add_sync(self, value), add_refusal(self, value)
  value.result, value.ended = result or value.result, ended or value.ended
  if not (has_sync or has_refusal or result or ended) then
    return
  end
  -- The value is stored until none of its parts is needed any more. For a sync that this client ignores,
  -- that time is not known.
  local is_unclear = not value.sync and value.stored and value.stored.sync
  local life = math.max(
    (value.result or value.ended) and result_life or 0,
    is_unclear and usual_cooldown or 0,
    life_of(self, value.sync),
    value.refusal and self.refusal_ends and self.refusal_ends - self.client.options.clock() or 0
  )
  local stored = value.stored or {} -- what this client ignores stays
  local text = life > 0
    and json.encode {
      sync = value.sync and value.sync.stored or stored.sync,
      refusal = value.refusal or stored.refusal,
      result = value.result,
      ended = value.ended,
    }
  if text then
    self:call("set", self.key, text, life)
  end
end

return TenantStore
