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

---@class autopilot.Flight the claim of one posting
---@field id string
---@field value string what stands in the store: the id, and when the claim ends
---@field ends number when it ends, on the client's monotonic clock
---@field began number on the client's clock
local Flight = {}
Flight.__index = Flight

-- A claim with less left counts as lost: it may be over before another word to the store.
Flight.shortest_rest = 0.1

--- Seconds that a claim is to last: so much, as far as the call's deadline lets it go on.
local function life_of(posting, seconds)
  return math.max(0, math.min(seconds, posting.call:time_left())) + margin
end

--- Sets for how long it lasts from now on. Others are told in the time that all have in common.
local function stamp(flight, options, life)
  flight.ends = options.clock() + life
  flight.value = flight.id .. " " .. SharedKnowledge.time_text(options.now() + life)
end

--- Takes the claim where it is free.
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

--- Makes the claim last for another while; false when it is lost.
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

--- Lets others go on: with the answer, or without one.
---@param posting autopilot.Posting
---@param answer table? nil when nothing was posted
---@param of_another autopilot.JoinedResult? to whose request it is the answer; default: to ours
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

--- Before the call sleeps until its next attempt.
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

--- Before the record is read, to settle what a request came to.
---@param posting autopilot.Posting
function Flight.settle(posting)
  if posting.claim then
    Flight.renew(posting, 3 * posting.call.client.options.timeout.total)
  end
end

return Flight
