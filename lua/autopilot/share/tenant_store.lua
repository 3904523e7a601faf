--- What the clients of one tenant share through a store: the latest time at which a sync was triggered, and
-- the time until which the service refuses requests.
--
-- Facts are shared, not conclusions: each client adds its own `cooldown` and `cooldown_margin`. Times are
-- Unix seconds, so the clients need the same clock (one machine, or machines whose clocks are right: a
-- difference moves the ends of cooldowns by as much, and values expire in the store). A value that cannot
-- be read is ignored, and a store that fails counts as empty.

local contract = require "autopilot.store.contract"
local outcome = require "autopilot.sync.outcome"

---@class autopilot.SharedKnowledge
---@field package store autopilot.Store
---@field package keys table<string, string>
---@field package memory autopilot.TenantMemory
---@field package client autopilot.Client
local SharedKnowledge = {}
SharedKnowledge.__index = SharedKnowledge

-- The first part of every key. Its number changes with the form of the values.
local prefix = "autopilot:1:"

-- What is kept for one tenant.
local parts = { "sync", "refusal", "claim", "result" }

--- Whether every client of the tenant would be refused in this way; other refusals depend on the token.
local function is_of_tenant(name)
  return outcome.of({ outcome = name }).source == "tenant"
end

-- Seconds by which two correct clocks may differ; a time further in the future is not believed.
local largest_difference = 60
-- Seconds for which a refusal is shared at most, even if the service's Retry-After is longer.
local longest_refusal = 86400
-- Seconds for which a client with `cooldown = 0` shares that a sync was triggered.
local usual_cooldown = 610

-- A fraction of a second as a whole number, exactly: so no locale's decimal point matters.
local units = 2 ^ 32

--- A time as text.
---@param seconds number
---@return string
function SharedKnowledge.time_text(seconds)
  local whole = math.floor(seconds)
  return ("%.0f.%.0f"):format(whole, math.floor((seconds - whole) * units))
end

--- The time that a text tells, or nil.
---@param text any
---@return number? seconds
function SharedKnowledge.time_of(text)
  local whole, rest = nil, nil
  if type(text) == "string" and #text <= 40 then
    whole, rest = text:match "^(%d+)%.(%d+)$"
  end
  rest = tonumber(rest)
  return rest and rest < units and tonumber(whole) + rest / units or nil
end

local time_text, time_of = SharedKnowledge.time_text, SharedKnowledge.time_of

--- The knowledge that a client shares. Nothing secret is in a key.
---@param client autopilot.Client
---@param store autopilot.Store
---@return autopilot.SharedKnowledge
function SharedKnowledge.new(client, store)
  local keys = {}
  for _, part in ipairs(parts) do
    keys[part] = prefix .. client.base_url:lower() .. ":" .. client.tenant:lower() .. ":" .. part
  end
  return setmetatable(
    { client = client, store = store, keys = keys, memory = client.memory },
    SharedKnowledge
  )
end

-- ---- The store, which may be the user's own and may fail ---------------------------------------------

--- Calls a method of the store. Never raises.
---@param method string
---@param part string one of `parts`
---@return any result
---@return string? message why there is none
function SharedKnowledge:call(method, part, ...)
  local result, message = contract.call(self.store, method, self.keys[part], ...)
  if message and message ~= "exists" and self.client.on_event then
    local text = self.client:clean((message:sub(1, 200):gsub("%c", " ")))
    self.client:emit("store_failed", { action = method, message = text })
  end
  return result, message
end

--- The text under a key, or nil.
---@param part string
---@return string? value
---@return string? message when the store failed
function SharedKnowledge:get(part)
  local value, message = self:call("get", part)
  return type(value) == "string" and value or nil, message
end

-- ---- What is known of syncs --------------------------------------------------------------------------

---@class autopilot.SyncFact
---@field triggered_at number the latest moment at which it can have been triggered, our clock
---@field earliest number? the same, the service's clock; nil when only a refusal tells of it
---@field latest number?

--- Reads the fact of a sync from a text; nil for a text that is not one, or for a time in the future.
local function fact_of(text, now)
  local at, rest = (text or ""):match "^([%d.]+)(.*)$"
  local triggered_at = time_of(at)
  if not triggered_at or triggered_at > now + largest_difference then
    return nil
  elseif rest == "" then
    return { triggered_at = triggered_at }
  end
  local earliest, latest = rest:match "^ ([%d.]+) ([%d.]+)$"
  earliest, latest = time_of(earliest), time_of(latest)
  if not latest or not earliest or earliest > latest then
    return nil
  end
  return { triggered_at = triggered_at, earliest = earliest, latest = latest }
end

local function text_of(fact)
  local text = time_text(fact.triggered_at)
  if fact.earliest then
    return ("%s %s %s"):format(text, time_text(fact.earliest), time_text(fact.latest))
  end
  return text
end

--- Seconds for which a sync matters.
local function life_of(memory, fact, now)
  local cooldown = memory.cooldown > 0 and memory.cooldown + memory.margin or usual_cooldown
  return fact.triggered_at + cooldown - now
end

--- Whether the fact `told`, which the store has, makes `fact` unnecessary: it is as new, or it is a sync
-- whose cooldown explains a refusal.
local function is_told(memory, fact, told)
  if not told then
    return false
  elseif not told.earliest and fact.earliest then
    return fact.triggered_at + memory.cooldown + memory.margin <= told.triggered_at
  elseif told.earliest and not fact.earliest then
    return told.triggered_at + memory.cooldown + memory.margin > fact.triggered_at
  end
  return told.triggered_at >= fact.triggered_at
end

--- Writes a sync into the store, unless the store has a fact that says more. If two clients write at the same
-- time, one fact may be lost; the worst result is a request that the service refuses.
local function tell_sync(self, fact, now)
  local life = life_of(self.memory, fact, now)
  if life > 0 and not is_told(self.memory, fact, fact_of(self:get "sync", now)) then
    self:call("set", "sync", text_of(fact), life)
  end
end

--- Writes what this client has learned by itself into the store, if it has changed.
---@param now number
function SharedKnowledge:tell(now)
  local memory = self.memory
  local sync = memory:latest_sync()
  if sync and sync.triggered_at ~= self.told_sync then
    self.told_sync = sync.triggered_at
    tell_sync(self, sync, now)
  end
  local bound = memory.bound_until and memory.bound_since
  if bound and bound ~= self.told_bound then
    self.told_bound = bound
    tell_sync(self, { triggered_at = bound }, now)
  end
  local ends = memory:held_until(now)
  if ends and memory.held_clock ~= self.told_refusal and is_of_tenant(memory.held_as) then
    self.told_refusal = memory.held_clock
    local life = math.min(ends - now, longest_refusal)
    local told = self:get "refusal"
    if life > 0 and (time_of((told or ""):match "^[%d.]+") or 0) < ends then
      local text = ("%s %s %s"):format(time_text(ends), memory.held_as, time_text(now))
      self:call("set", "refusal", text, life)
    end
  end
end

--- Reads from a text until when the service refuses requests; nil for a text that does not say so. If it was
-- written in the future, the clock was set back since: it then lasts no longer from now on than it did then.
---@return number? ends
---@return string? outcome
local function refusal_of(text, now)
  local ends, name, told = (text or ""):match "^([%d.]+) ([%l_]+) ([%d.]+)$"
  ends, told = time_of(ends), time_of(told)
  if ends and told then
    return math.min(ends, now + math.max(0, ends - told)), name
  end
end

--- Reads what other clients have written into the store.
---@param now number
function SharedKnowledge:learn(now)
  local memory = self.memory
  local fact = fact_of(self:get "sync", now)
  if fact then
    memory:note_others(fact)
  end
  local ends, name = refusal_of(self:get "refusal", now)
  if ends and is_of_tenant(name) and ends > now and ends <= now + longest_refusal then
    local before = memory.held_clock
    memory:note_refused(name, ends, now)
    if memory.held_clock ~= before then
      self.told_refusal = memory.held_clock -- it is in the store already
    end
  end
end

--- Writes what this client knows into the store, and reads what other clients know.
---@param now number
function SharedKnowledge:exchange(now)
  self:tell(now)
  self:learn(now)
end

return SharedKnowledge
