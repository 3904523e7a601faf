--- A claim on a tenant: of the clients that share a store, only the one with the claim asks for a sync.
--
-- The holder keeps the claim over short waits between attempts, and releases it with the answer. If the
-- holder dies, the claim expires. How the other clients wait is in `share.claim`.

local SharedKnowledge = require "autopilot.share.tenant_store"
local core = require "autopilot.core"
local joined_report = require "autopilot.share.shared_answer"
local turns = require "autopilot.base.turns"

-- Seconds that a claim lasts longer than the work that it is for may take.
local margin = 10
-- Seconds that getting a token may take.
local token_time = 60
-- Seconds. A claim is kept over one wait of at most `longest_pause`, and for `longest_hold` in all. Then it
-- is released with the answer that is there.
local longest_pause, longest_hold = 30, 300
-- Seconds for which the other clients can read the result.
local result_life = 60

---@class autopilot.Flight the claim of one posting
---@field id string
---@field value string the value in the store: the id, and when the claim ends
---@field ends number when it ends, on the client's monotonic clock
---@field began number on the client's clock
local Flight = {}
Flight.__index = Flight

-- Seconds. A claim with less time left counts as lost: it may expire before the next call reaches the store.
Flight.shortest_rest = 0.1

--- Seconds that a claim is to last: those given, but not beyond the call's deadline; and the margin.
local function life_of(posting, seconds)
  return math.max(0, math.min(seconds, posting.call:time_left())) + margin
end

--- Sets for how long the claim lasts from now on. The store gets the end as Unix time, because other
-- processes have other monotonic clocks.
local function stamp(flight, options, life)
  flight.ends = options.clock() + life
  flight.value = flight.id .. " " .. SharedKnowledge.time_text(options.now() + life)
end

--- Takes the claim if no other client has it.
---@param posting autopilot.Posting
---@return boolean? is_taken
---@return string? message `exists`, or why the store could not tell
function Flight.claim(posting)
  local options = posting.call.client.options
  local flight = setmetatable({ id = core.uuid(), began = options.clock() }, Flight)
  local life = life_of(posting, options.timeout.total)
  stamp(flight, options, life)
  local added, message = posting.call.client.shared:call("add", "claim", flight.value, life)
  if not added then
    return nil, message or "exists"
  end
  posting.claim = flight
  turns.note(flight.id, flight)
  return true
end

--- Makes the claim last for so many seconds from now on; false when it is lost.
---@param posting autopilot.Posting
---@param seconds number
---@return boolean
function Flight.renew(posting, seconds)
  local flight, shared = posting.claim, posting.call.client.shared
  local options = posting.call.client.options
  local value, message = shared:get "claim"
  local rest = flight.ends - options.clock()
  if rest < Flight.shortest_rest or (not message and value ~= flight.value) then
    posting.claim = nil
    turns.note(flight.id, nil)
    return false
  end
  local before, ended, life = flight.value, flight.ends, life_of(posting, seconds)
  stamp(flight, options, life)
  if not shared:call("set", "claim", flight.value, life) then
    flight.value, flight.ends = before, ended
  end
  return true
end

--- Releases the claim, after writing the answer into the store, if there is one for the waiting clients.
---@param posting autopilot.Posting
---@param answer table? nil when nothing was posted
---@param of_another autopilot.JoinedResult? the result of the request that was answered, if it was not ours
function Flight.land(posting, answer, of_another)
  local flight, shared = posting.claim, posting.call.client.shared
  posting.claim = nil
  turns.note(flight.id, nil)
  local text = answer
    and not answer.mistake
    and joined_report.write(flight.id, posting, answer, of_another)
  if text then
    shared:call("set", "result", text, result_life)
  end
  shared:call("delete_if", "claim", flight.value)
end

--- Keeps the claim while the call sleeps until its next attempt; releases it before a long sleep.
---@param posting autopilot.Posting
---@param answer table of the last attempt
---@param seconds number
function Flight.pause(posting, answer, seconds)
  local options = posting.call.client.options
  local held = options.clock() + seconds - posting.claim.began
  local is_kept = answer.outcome ~= "unreachable"
    and seconds <= longest_pause
    and held <= longest_hold
  if is_kept then
    Flight.renew(posting, seconds + token_time + options.timeout.total)
  else
    Flight.land(posting, answer)
  end
end

--- Keeps the claim while the record is read to find out whether a request started a sync.
---@param posting autopilot.Posting
function Flight.settle(posting)
  if posting.claim then
    Flight.renew(posting, 3 * posting.call.client.options.timeout.total)
  end
end

return Flight
