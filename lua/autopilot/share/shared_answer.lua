--- Converts the answer to a call's request into a form in which it can be stored for other calls of the
-- tenant, and back.
--
-- Other programs may write into the store: only fields of the right form are read. Times in the store are
-- Unix times. The clocks of all that share the store must agree.

local dates = require "autopilot.base.dates"
local outcome = require "autopilot.sync.outcome"
local sentence = require "autopilot.base.sentence"

local shared_answer = {}

---@class autopilot.SharedAnswer
---@field id string of the claim under which the request was sent
---@field told_by string id of the claim whose holder stored the answer: `id`, or that of a call that read
-- the record afterwards
---@field sent number when the request was sent; of several, the one that started a sync, else the last
---@field sent_latest number the latest moment that `sent` can be; later than `sent` only if Unix time was set since
---@field took number seconds from `sent` until the answer was stored
---@field attempts integer how often it was sent
---@field answer table in the shape of a report
---@field unread_since number? when the first request whose answer was lost was sent; nil if an answer came, or the record was read, since

--- Whether this is the outcome of a sent request. Others come from the record, or nothing was sent.
local function is_of_request(name)
  local row = outcome.all[name]
  return row and row.source ~= "record" and row.source ~= "client"
end

-- ---- The fields of an answer that are shared ---------------------------------------------------------

--- Secrets were removed from texts when they were stored. Since others may have changed the store, texts are made
-- safe for a terminal again.
local function text(value)
  return type(value) == "string" and sentence.clean(value, 1000) or nil
end

local function number(value)
  return type(value) == "number" and value >= 0 and value <= 1e11 and value or nil
end

--- Makes the check of a whole number.
local function whole(least, most)
  return function(value)
    local is_right = number(value) and value >= least and value <= most and value % 1 == 0
    return is_right and value or nil
  end
end

local function flag(value)
  return value == true
end

--- Makes the check of a text that must be a key of the table.
local function one_of(keys)
  return function(value)
    return type(value) == "string" and keys[value] and value or nil
  end
end

local delivered = one_of { yes = true, no = true, unknown = true }

-- The fields that are shared. Each has a function that returns its value if it has the right form, else nil.
local form = {
  id = text,
  told_by = text,
  sent = dates.of_text,
  took = number,
  attempts = whole(0, 1e6),
  unread_since = dates.of_text,
  answer = {
    outcome = one_of(outcome.all),
    delivered = delivered,
    confirmed_by = one_of { response = true, status = true },
    status = whole(100, 999),
    http_version = text,
    tenant_id = text,
    request_id = text,
    client_request_id = text,
    activity_id = text,
    diagnostics = text,
    service_date = whole(0, 1e11),
    retry_after = number,
    hint = text,
    error = { code = text, message = text, reason = text },
    network = { stage = text, name = text, message = text, timeout = flag, delivered = delivered },
    unread = flag,
  },
}

--- A copy of the fields that have the right form.
local function copy(from, fields)
  local to = {}
  for name, check in pairs(fields) do
    local value = from[name]
    if type(check) == "function" then
      to[name] = check(value)
    else
      to[name] = type(value) == "table" and copy(value, check) or nil
    end
  end
  return to
end

-- ---- Writing -----------------------------------------------------------------------------------------

--- Converts the answer to a call's request into the form for the store.
---@param claim autopilot.Lease the one of the call
---@param of_another autopilot.SharedAnswer? the one whose request was answered; default: this call's request
---@return table? result nil if nothing was sent, or if the answer is of no use to others
function shared_answer.write(claim, requests, answer, of_another)
  local client = requests.call.client
  local clock, now = client.service_clock, client.options.clock()
  local own = requests.sent or {}
  local request = of_another or { id = claim.id, sent = own.at, attempts = #requests.attempts }
  -- If a call could not send only because its own deadline passed, others still can.
  local was_too_late = answer.outcome == "unreachable" and requests.call:time_left() <= 0
  if not request.sent or not is_of_request(answer.outcome) or was_too_late then
    return nil
  end
  local sent = answer.outcome == "started" and client.memory.started_at or request.sent
  -- An answer that came tells others more than the record would, which may be out of date.
  local is_lost = answer.outcome == "interrupted" or answer.outcome == "unavailable"
  local open = is_lost and requests.is_unread and requests.open
  local stored = copy(answer, form.answer)
  local left = answer.free_at and answer.free_at - now
  stored.retry_after = left and left > 0 and left or nil
  return {
    id = request.id,
    told_by = claim.id,
    sent = dates.to_text(clock:to_unix(sent)),
    took = request.took or now - sent,
    attempts = request.attempts,
    unread_since = open and dates.to_text(clock:to_unix(open.since)) or nil,
    answer = stored,
  }
end

-- ---- Reading -----------------------------------------------------------------------------------------

--- Converts a result of `write` back for the client; nil for any other table.
---@return autopilot.SharedAnswer?
function shared_answer.read(value, client)
  local stored = copy(value, form)
  local answer = stored.answer or {}
  local is_complete = stored.id
    and stored.told_by
    and stored.sent
    and stored.took
    and stored.attempts
  -- What the record proves may be another client's sync, and the request may be lost.
  local is_possible = answer.outcome ~= "started"
    or answer.delivered == "yes"
    or (answer.delivered == "unknown" and answer.confirmed_by == "status")
  if not (is_complete and is_possible and is_of_request(answer.outcome) and answer.delivered) then
    return nil
  end
  local clock, unread_since = client.service_clock, stored.unread_since
  stored.sent, stored.sent_latest = clock:of_unix(stored.sent)
  -- Triggers count from `unread_since` on, so it is the latest moment that it can be.
  stored.unread_since = unread_since and select(2, clock:of_unix(unread_since)) or nil
  client:set_retry(answer, answer.retry_after)
  answer.tenant, answer.answered_by, answer.joined = client.tenant, "client", true
  return stored
end

return shared_answer
