--- The claim of a tenant, among all who share a store: while it stands, one of them asks.
--
-- It is kept over short waits between attempts, is given back with the answer, and ends with its time when
-- its holder dies. Who waits for it, and how, is in `one_flight`.

local SharedKnowledge = require "autopilot.share.tenant_store"
local core = require "autopilot.core"
local joined_report = require "autopilot.share.shared_answer"
local turns = require "autopilot.base.turns"

-- Seconds. A claim lasts so much longer than what it is for.
local margin = 10
-- So long may a token take.
local token_time = 60
-- A claim is kept over a wait of so long, and so long in all; then others get what is known by then.
local longest_pause, longest_hold = 30, 300
-- So long can the result be fetched.
local result_life = 60

---@class autopilot.Flight the claim of one operation
---@field id string
---@field value string what stands in the store: the id, and when the claim ends
---@field ends number when it ends, on the client's monotonic clock
---@field began number on the client's clock
local Flight = {}
Flight.__index = Flight

-- A claim with less left counts as lost: it may be over before another word to the store.
Flight.shortest_rest = 0.1

--- Seconds that a claim is to last: so much, as far as the operation's deadline lets it go on.
local function life_of(operation, seconds)
  local left = operation.deadline and operation.deadline - operation.client.options.clock()
  return math.max(0, math.min(seconds, left or seconds)) + margin
end

--- Sets for how long it lasts from now on. Others are told in the time that all have in common.
local function stamp(flight, options, life)
  flight.ends = options.clock() + life
  flight.value = flight.id .. " " .. SharedKnowledge.time_text(options.now() + life)
end

--- Takes the claim where it is free.
---@param operation autopilot.Operation
---@return boolean? is_taken
---@return string? message `exists`, or why the store could not tell
function Flight.claim(operation)
  local options = operation.client.options
  local flight = setmetatable({ id = core.uuid(), began = options.clock() }, Flight)
  local life = life_of(operation, options.timeout.total)
  stamp(flight, options, life)
  local added, message = operation.client.shared:call("add", "claim", flight.value, life)
  if not added then
    return nil, message or "exists"
  end
  operation.flight = flight
  turns.note(flight.id, flight)
  return true
end

--- Makes the claim last for another while; false when it is lost.
---@param operation autopilot.Operation
---@param seconds number
---@return boolean
function Flight.renew(operation, seconds)
  local flight, shared = operation.flight, operation.client.shared
  local options = operation.client.options
  local value, message = shared:get "claim"
  local rest = flight.ends - options.clock()
  if rest < Flight.shortest_rest or (not message and value ~= flight.value) then
    operation.flight = nil
    turns.note(flight.id, nil)
    return false
  end
  local before, ended, life = flight.value, flight.ends, life_of(operation, seconds)
  stamp(flight, options, life)
  if not shared:call("set", "claim", flight.value, life) then
    flight.value, flight.ends = before, ended
  end
  return true
end

--- Lets others go on: with the answer, or without one.
---@param operation autopilot.Operation
---@param answer table? nil when nothing was posted
---@param of_another autopilot.JoinedResult? to whose request it is the answer; default: to ours
function Flight.land(operation, answer, of_another)
  local flight, shared = operation.flight, operation.client.shared
  operation.flight = nil
  turns.note(flight.id, nil)
  local text = answer
    and not answer.mistake
    and joined_report.write(flight.id, operation, answer, of_another)
  if text then
    shared:call("set", "result", text, result_life)
  end
  shared:call("delete_if", "claim", flight.value)
end

--- Before the operation sleeps until its next attempt.
---@param operation autopilot.Operation
---@param answer table of the last attempt
---@param seconds number
function Flight:pause(operation, answer, seconds)
  local options = operation.client.options
  local held = options.clock() + seconds - self.began
  local is_kept = answer.outcome ~= "unreachable"
    and seconds <= longest_pause
    and held <= longest_hold
  if is_kept then
    Flight.renew(operation, seconds + token_time + options.timeout.total)
  else
    Flight.land(operation, answer)
  end
end

--- Before the record is read, to settle what a request came to.
---@param operation autopilot.Operation
function Flight.settle(operation)
  if operation.flight then
    Flight.renew(operation, 3 * operation.client.options.timeout.total)
  end
end

return Flight
