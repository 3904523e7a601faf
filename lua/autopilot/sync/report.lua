--- The report of every call: one shape for results and failures, and one line of text for people.
--
-- The fields are filled in where their values are known; the table that carries them until then is called
-- an answer.

local lazy = require "autopilot.base.lazy"

local outcome = require "autopilot.sync.outcome"

local dates = lazy "autopilot.base.dates"

local report = {}

---@class autopilot.Attempt one time that the sync request was to be posted
---@field number integer
---@field outcome autopilot.Outcome
---@field status integer?
---@field delivered "yes"|"no"|"unknown"
---@field sends integer how often it may have been put on the wire
---@field delay number seconds waited before it
---@field elapsed number seconds it took
---@field request_id string?
---@field client_request_id string?
---@field network autopilot.NetworkFailure?

---@class autopilot.Report
---@field ok boolean
---@field operation "sync"|"status"|"wait"|"ensure"|"doctor"
---@field outcome autopilot.Outcome? nil only for a status that was read
---@field tenant string? as the caller named it, else the token's
---@field tenant_id string? the `tid` of the token that was sent, when it can be read
---@field status integer? HTTP status of the last response
---@field http_version string?
---@field delivered ("yes"|"no"|"unknown")? did the service receive the sync request
---@field joined true? it is the answer to another call's request, which was under way (option `store`)
---@field confirmed_by ("response"|"status")?
---@field answered_by ("service"|"client"|"intermediary")?
---@field retry_after number? seconds before which asking again is pointless
---@field retry_at number? the same as Unix time of the client's clock
---@field request_id string?
---@field client_request_id string?
---@field activity_id string?
---@field service_date number? Unix time, the service's clock
---@field diagnostics string?
---@field error { code: string?, message: string?, reason: string? }?
---@field hint string?
---@field network autopilot.NetworkFailure?
---@field stuck_for number? seconds since the last trigger, where a sync is in progress for longer than `stuck_after`
---@field attempts autopilot.Attempt[]?
---@field steps { action: string, reason: string, at: number }[]?
---@field gave_up ("not_retryable"|"attempts"|"deadline"|"budget"|"retry_after")?
---@field recalled boolean? it is from the state file of a fleet
---@field elapsed number seconds
---@field timings autopilot.Timings? of the last attempt

local function add(parts, format, value)
  if value ~= nil and value ~= "" then
    parts[#parts + 1] = format:format(value)
  end
end

--- Whether the tenant was named by this id, perhaps in capitals or braces. If not, the line shows the id too.
local function is_same_tenant(name, id)
  return name:gsub("[{}]", ""):lower() == id:lower()
end

local Report = {}

--- One line: `sync contoso: cooldown, again in 345 s (HTTP 429, request-id 5c0e…)`.
function Report:__tostring()
  local facts, details = {}, {}
  add(facts, "%s", self.outcome or self.sync_status or (self.ok and "ok" or "failed"))
  if self.retry_after then
    add(facts, "again in %d s", math.ceil(self.retry_after))
  end
  local service_error = self.error or {}
  add(facts, "%s", service_error.message or service_error.code)
  if self.network then
    add(facts, "%s", ("%s: %s"):format(self.network.stage, self.network.message))
  end
  if self.tenant_id and self.tenant and not is_same_tenant(self.tenant, self.tenant_id) then
    add(details, "tenant id %s", self.tenant_id)
  end
  add(details, "joined", self.joined)
  add(details, "HTTP %d", self.status)
  add(details, "confirmed by the %s", self.confirmed_by)
  add(details, "delivered: %s", not self.ok and self.delivered or nil)
  add(details, "request-id %s", self.request_id)
  local line = ("%s%s: %s"):format(
    self.operation,
    self.tenant and " " .. self.tenant or "",
    table.concat(facts, ", ")
  )
  if #details > 0 then
    line = ("%s (%s)"):format(line, table.concat(details, ", "))
  end
  return (line:gsub("%c", " "))
end

--- Makes a table of a report's fields a report: adds `ok` and `hint` by the outcome.
---@return autopilot.Report
function report.new(fields)
  fields.sends = nil -- told for each attempt
  fields.is_transient, fields.free_at, fields.trigger_known, fields.unread = nil, nil, nil, nil
  local row = outcome.all[fields.outcome]
  if row then
    fields.ok = row.exit == 0
  end
  if not fields.ok or fields.stuck_for then
    fields.hint = outcome.hint_of(fields)
  end
  return setmetatable(fields, Report)
end

local hint_of_shorter =
  "The service's cooldown is shorter than the %s that were assumed: %s are assumed from now on."
-- Another client's sync may be the reason of the refusal, too.
local hint_of_given_up = "The service refused a request after the %s that were assumed as its "
  .. "cooldown: %s are assumed from now on."

--- Reports once that another cooldown was learnt: by an event, and by the hint unless another failure needs it.
local function report_learned(client, answer)
  local learned = client.memory.learned
  client.memory.learned = nil
  client:emit("cooldown_learned", { cooldown = learned.cooldown, before = learned.before })
  local hint = learned.cooldown < learned.before and hint_of_shorter or hint_of_given_up
  if outcome.of(answer).exit == 0 or answer.outcome == "cooldown" then
    answer.hint = hint:format(dates.duration(learned.before), dates.duration(learned.cooldown))
  end
end

--- Adds to a failure when to ask again, if an earlier answer or the record shows a later time than its own answer.
local function add_known_retry(client, answer)
  local memory, now = client.memory, client.options.clock()
  local seconds = memory:held_for(now)
  -- The next `ensure` of a call that asked for no sync may need none, so that the cooldown does not count.
  local has_asked = answer.attempts and answer.attempts[1]
  if answer.outcome == "sync_failed" or (seconds and has_asked) then
    seconds = select(2, memory:refusal(now))
  end
  if (seconds or 0) > (answer.retry_after or 0) then
    client:set_retry(answer, seconds)
  end
end

-- Seconds: the Retry-After of an answer that came earlier is brought up to date.
local longest_age = 1

--- Makes the last answer of a call its report.
---@param attempts autopilot.Attempt[]?
---@return autopilot.Report? report
---@return autopilot.Report? failure
function report.finish(call, answer, attempts)
  answer.operation, answer.attempts, answer.steps = call.name, attempts, call.steps
  local client, row = call.client, outcome.all[answer.outcome]
  if not answer.client_request_id then -- nothing was sent for it: an answer to a request names its own token's
    answer.tenant_id = answer.tenant_id or client.tenant_id or nil
  end
  answer.tenant = client.tenant or answer.tenant_id
  local rest = answer.free_at and answer.free_at - client.options.clock()
  if rest and rest < answer.retry_after - longest_age then
    client:set_retry(answer, rest > 0 and rest or nil)
  end
  if answer.retry_after and not answer.retry_at then -- a token endpoint's, which does not delay requests to the service
    client:set_retry(answer, answer.retry_after)
  end
  if row and row.exit > 0 then
    add_known_retry(client, answer)
  end
  if client.memory.learned then
    report_learned(client, answer)
  end
  answer.elapsed = client.options.clock() - call.began
  local completed = report.new(answer)
  if completed.ok then
    return completed
  end
  return nil, completed
end

return report
