--- `client:status`: what the tenant's record says, and whether a sync may be asked for.

local Call = require "autopilot.sync.call"
local options = require "autopilot.base.options"
local record = require "autopilot.sync.record"
local report = require "autopilot.sync.report"

local rules = { deadline = { type = "number", above = 0 } }

---@class autopilot.StatusReport: autopilot.Report
---@field sync_status string? `unknown`, `in_progress`, `completed`, `failed`, or a state that Graph added
---@field last_sync number? Unix time, the service's clock; nil: never
---@field last_manual_trigger number? the same
---@field cooldown_until number? the same; nil: no sync is known of
---@field cooldown_remaining number seconds, 0 when it is over
---@field ready boolean a sync may be asked for
---@field service_time number when the record was read, the service's clock

--- Adds what follows from the record, and from what the client knows besides: a record that was read
-- late does not show the last sync yet.
local function add_readiness(client, answer)
  local now = client.options.clock()
  local _, service_now = client.service_clock:to_service(now)
  answer.service_time = answer.service_date or service_now
  answer.cooldown_until = client.memory:cooldown_until()
  answer.cooldown_remaining = math.max(0, (answer.cooldown_until or 0) - answer.service_time)
  answer.ready = answer.sync_status ~= "in_progress"
    and answer.cooldown_remaining == 0
    and client.memory:refusal(now) == nil
end

local status = {}

--- Reads the record, and reports what it says.
---@param call autopilot.Call
---@return autopilot.StatusReport? report
---@return autopilot.Report? failure
function status.read(call)
  local answer = record.read(call)
  if not answer.outcome then
    answer.ok = true
    add_readiness(call.client, answer)
  end
  return report.finish(call, answer)
end

---@param client autopilot.Client
---@param given { deadline: number? }?
---@return autopilot.StatusReport? report
---@return autopilot.Report? failure
function status.call(client, given)
  Call.check(client, "status")
  local call = Call.new(client, "status", options.check("client:status", rules, given))
  local read, failure = status.read(call)
  call:raise_mistake(read or failure)
  return read, failure
end

return status
