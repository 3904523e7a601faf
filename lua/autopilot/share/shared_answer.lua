--- The answer to one call's request, in a form that can be put into a store for the other calls of the
-- tenant, and read again.
--
-- Others may write into the store too: only what has the right form is taken. Times in the store are Unix
-- times of the clock that all who share the store have in common.

local answers = require "autopilot.graph.answer"
local dates = require "autopilot.base.dates"
local outcome = require "autopilot.sync.outcome"
local sentence = require "autopilot.base.sentence"

local shared_answer = {}

---@class autopilot.SharedAnswer
---@field id string of the claim under which the request was sent
---@field told_by string id of the claim whose holder has told the answer: the same, or that of a call which
-- has found out what the request came to
---@field sent number when the request was sent, of several the one that started a sync or the last
---@field took number seconds from then until the answer was told
---@field attempts integer how often it was sent
---@field answer table in the shape of a report
---@field unread_since number? when the first lost request was sent; the record was not read since

--- Whether a request can have this outcome. The others follow from the record, or nothing was sent.
local function is_of_request(name)
  local row = outcome.all[name]
  return row and row.source ~= "record" and row.source ~= "client"
end

-- ---- The fields of an answer that are shared ---------------------------------------------------------

local one_of = {
  outcome = outcome.all,
  delivered = { yes = true, no = true, unknown = true },
  confirmed_by = { response = true, status = true },
}

-- The least and the largest number of each kind.
local limits = {
  number = { 0, 1e11 },
  whole = { 0, 1e11 },
  attempts = { 0, 1e6 },
  status = { 100, 999 },
}

-- What a field must be to be shared: `text`, `flag`, `time`, one of the texts above, or a number within the limits
-- above, which is whole if its kind is not `number`.
local form = {
  id = "text",
  told_by = "text",
  sent = "time",
  took = "number",
  attempts = "attempts",
  unread_since = "time",
  answer = {
    outcome = "outcome",
    delivered = "delivered",
    confirmed_by = "confirmed_by",
    status = "status",
    http_version = "text",
    tenant_id = "text",
    request_id = "text",
    client_request_id = "text",
    activity_id = "text",
    diagnostics = "text",
    service_date = "whole",
    retry_after = "number",
    hint = "text",
    error = { code = "text", message = "text", reason = "text" },
    network = {
      stage = "text",
      name = "text",
      message = "text",
      timeout = "flag",
      delivered = "delivered",
    },
    unread = "flag",
  },
}

--- A value that has the right form, else nil. A text has passed the search for secrets; what others may have
-- written into the store is made fit for a terminal again.
local function fitting(value, kind)
  local limit = limits[kind]
  if kind == "flag" then
    return value == true
  elseif kind == "time" then
    return dates.of_text(value)
  elseif limit then
    local is_right = type(value) == "number" and value >= limit[1] and value <= limit[2]
    return is_right and (kind == "number" or value % 1 == 0) and value or nil
  elseif type(value) ~= "string" then
    return nil
  elseif kind == "text" then
    return sentence.clean(value, 1000)
  end
  return one_of[kind][value] and value or nil
end

--- A copy of the fields that have the right form.
local function copy(from, fields)
  local to = {}
  for name, kind in pairs(fields) do
    local value = from[name]
    if type(kind) == "string" then
      to[name] = fitting(value, kind)
    else
      to[name] = type(value) == "table" and copy(value, kind) or nil
    end
  end
  return to
end

-- ---- Writing -----------------------------------------------------------------------------------------

--- What the request of a posting came to, in a form for the store.
---@param claim autopilot.Lease under which it is told
---@param posting autopilot.Posting
---@param answer table
---@param of_another autopilot.SharedAnswer? to whose request it is the answer; default: our own
---@return table? result nil when nothing was sent, or when the answer means nothing to others
function shared_answer.write(claim, posting, answer, of_another)
  local client = posting.call.client
  local clock, now = client.service_clock, client.options.clock()
  local own = posting.sent or {}
  local request = of_another or { id = claim.id, sent = own.at, attempts = #posting.attempts }
  -- Nothing was sent where only its own deadline kept a call from sending.
  local was_too_late = answer.outcome == "unreachable" and posting.call:time_left() <= 0
  if not request.sent or not is_of_request(answer.outcome) or was_too_late then
    return nil
  end
  local sent = answer.outcome == "started" and client.memory.started_at or request.sent
  local open = posting.is_unread and outcome.of(answer).is_open and posting.unsettled
  local told = copy(answer, form.answer)
  told.unread = posting.is_blind
  local left = answer.free_at and answer.free_at - now
  told.retry_after = left and left > 0 and left or nil
  return {
    id = request.id,
    told_by = claim.id,
    sent = dates.to_text(clock:to_unix(sent)),
    took = request.took or now - sent,
    attempts = request.attempts,
    unread_since = open and dates.to_text(clock:to_unix(open.since)) or nil,
    answer = told,
  }
end

-- ---- Reading -----------------------------------------------------------------------------------------

--- Reads what `write` has made; nil for anything else.
---@param value any
---@param client autopilot.Client of the reader
---@return autopilot.SharedAnswer?
function shared_answer.read(value, client)
  local told = copy(type(value) == "table" and value or {}, form)
  local answer = told.answer or {}
  local is_complete = told.id and told.told_by and told.sent and told.took and told.attempts
  -- What the record proves may be another client's sync, and the request may be lost.
  local is_possible = answer.outcome ~= "started"
    or answer.delivered == "yes"
    or (answer.delivered == "unknown" and answer.confirmed_by == "status")
  if not (is_complete and is_possible and is_of_request(answer.outcome) and answer.delivered) then
    return nil
  end
  answers.set_retry(client, answer, answer.retry_after)
  answer.tenant, answer.answered_by, answer.joined = client.tenant, "client", true
  answer.unread = answer.unread or nil
  local clock, unread_since = client.service_clock, nil
  if told.unread_since and outcome.of(answer).is_open then
    local _
    _, unread_since = clock:of_unix(told.unread_since)
  end
  -- A trigger at or after `unread_since` will count, so that is the later moment; `sent` is the earlier.
  told.sent, told.unread_since = clock:of_unix(told.sent), unread_since
  return told
end

return shared_answer
