--- `client:status`: reads the tenant's record, and whether a sync is possible.

local record = require "autopilot.sync.record"

---@type autopilot.Operation
local status = { rules = { deadline = { type = "number", above = 0 } } }

---@class autopilot.StatusReport: autopilot.Report
---@field sync_status string? `unknown`, `in_progress`, `completed`, `failed`, or a state that Graph added
---@field last_sync number? Unix time, the service's clock; nil: never
---@field last_manual_trigger number? the same
---@field cooldown_until number? the same; nil: no sync is known of
---@field cooldown_remaining number seconds, 0 when it is over
---@field ready boolean a sync may be asked for
---@field service_time number when the record was read, the service's clock

--- Adds what follows from the record and from the client's knowledge: a record that is out of
-- date does not show the last sync yet.
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

--- Reads the record.
function status.run(call)
  local answer = record.read(call)
  if not answer.outcome then
    answer.ok = true
    add_readiness(call.client, answer)
  end
  return answer
end

return status
