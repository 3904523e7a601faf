--- The answer to one call's request, in a form that can be put into a store for the other calls of the
-- tenant, and read again.
--
-- Others may write into the store too: only what has the right form is taken. Times are Unix times of the
-- clock that all who share the store have in common, as it shows them when they are told. A reader
-- translates them to its own monotonic clock.

local dates = require "autopilot.base.dates"
local outcome = require "autopilot.sync.outcome"
local sentence = require "autopilot.base.sentence"

local shared_answer = {}

---@class autopilot.SharedAnswer
---@field id string of the claim under which the request was sent
---@field told_by string id of the claim whose holder has told the answer: the same, or that of a call which
-- has found out what the request came to
---@field sent autopilot.Since when the request was sent
---@field took number seconds from then until the answer was told
---@field attempts integer how often it was sent
---@field answer table in the shape of a report
---@field started autopilot.StartedFact? the sync that it started
---@field unread_since autopilot.Since? when the first lost request was sent; the record was not read since

---@class autopilot.StartedFact
---@field since autopilot.Since when its request was sent
---@field known_at number when that was known
---@field earliest number when it was triggered; the service's clock
---@field latest number

--- Whether a request can have this outcome. The others follow from the record, or nothing was sent.
local function is_of_request(name)
  local row = outcome.all[name]
  return row and row.source ~= "record" and row.source ~= "client"
end

-- ---- The fields of an answer that are shared ---------------------------------------------------------

--- A short text. It has passed the search for secrets; what others may have written into the store is made
-- fit for a terminal again.
local function short_text(value)
  return type(value) == "string" and sentence.clean(value, 1000) or nil
end

local function boolean(value)
  return value == true
end

--- A number within these limits.
local function number(least, most)
  return function(value)
    return type(value) == "number" and value >= least and value <= most and value or nil
  end
end

--- A whole number within these limits.
local function whole(least, most)
  local within = number(least, most)
  return function(value)
    return within(value) and value % 1 == 0 and value or nil
  end
end

--- One of these texts.
local function one_of(values)
  return function(value)
    return type(value) == "string" and values[value] and value or nil
  end
end

local delivered = one_of { yes = true, no = true, unknown = true }
local count, seconds = whole(0, 1e6), number(0, 1e9)

-- Each field has a function that returns its value when it has the right form, else nil.
local form = {
  http_version = short_text,
  tenant_id = short_text,
  request_id = short_text,
  client_request_id = short_text,
  activity_id = short_text,
  diagnostics = short_text,
  hint = short_text,
  status = whole(100, 999),
  service_date = whole(0, 1e11),
  delivered = delivered,
  confirmed_by = one_of { response = true, status = true },
  error = { code = short_text, message = short_text, reason = short_text },
  network = {
    stage = short_text,
    name = short_text,
    message = short_text,
    timeout = boolean,
    delivered = delivered,
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

--- The Unix time that our clock would have shown at a moment of the monotonic clock, set as it is now.
local function shown(options, clock)
  local now = options.now() -- read first: time between the two readings makes it earlier, never later
  return now - (options.clock() - clock)
end

local function started_texts(memory, options)
  local now, started_at = options.now(), shown(options, memory.started_clock)
  return {
    started_at = dates.to_text(started_at),
    known_at = dates.to_text(math.max(started_at, memory.accepted_at or now)),
    earliest = dates.to_text(memory.own_earliest),
    latest = dates.to_text(memory.own_latest),
  }
end

--- Whether only its own deadline kept a call from sending.
local function was_too_late(posting, answer)
  return answer.outcome == "unreachable" and posting.call:time_left() <= 0
end

--- When the first lost request was sent, where the record was not read since.
local function unread_since(posting, answer)
  local open = posting.is_unread and posting.unsettled
  return open
      and outcome.of(answer).is_open
      and dates.to_text(shown(posting.call.client.options, open.since.clock))
    or nil
end

--- What the request of a posting came to, in a form for the store.
---@param claim autopilot.Lease under which it is told
---@param posting autopilot.Posting
---@param answer table
---@param of_another autopilot.SharedAnswer? to whose request it is the answer; default: our own
---@return table? result nil when nothing was sent, or when the answer means nothing to others
function shared_answer.write(claim, posting, answer, of_another)
  local memory, options = posting.call.client.memory, posting.call.client.options
  local is_started = answer.outcome == "started"
  local sent = of_another and of_another.sent.clock
    or is_started and memory.started_clock
    or (posting.sent and posting.sent.clock)
  if not sent or not is_of_request(answer.outcome) or was_too_late(posting, answer) then
    return nil
  end
  local fields = copy(answer, form)
  fields.id = of_another and of_another.id or claim.id
  fields.told_by = claim.id
  fields.sent = dates.to_text(shown(options, sent))
  fields.took = of_another and of_another.took or options.clock() - sent
  fields.attempts = of_another and of_another.attempts or #posting.attempts
  fields.unread, fields.unread_since = posting.is_blind, unread_since(posting, answer)
  fields.outcome = answer.outcome
  fields.retry_at = answer.retry_at and dates.to_text(answer.retry_at)
  fields.started = is_started and started_texts(memory, options) or nil
  return fields
end

-- ---- Reading -----------------------------------------------------------------------------------------

---@param text any Unix time
---@param ahead number how far Unix time is ahead of our monotonic clock
---@return autopilot.Since?
local function moment_of(text, ahead)
  local at = dates.of_text(text)
  return at and { at = at, clock = at - ahead }
end

local function read_started(value, ahead)
  if type(value) ~= "table" then
    return nil
  end
  local fact = { since = moment_of(value.started_at, ahead) }
  for _, name in ipairs { "known_at", "earliest", "latest" } do
    fact[name] = dates.of_text(value[name])
    if not fact[name] then
      return nil
    end
  end
  local is_possible = fact.since and fact.since.at <= fact.known_at and fact.earliest <= fact.latest
  return is_possible and fact or nil
end

local function answer_of(fields, tenant, now)
  local answer, retry_at = copy(fields, form), dates.of_text(fields.retry_at)
  if retry_at and retry_at > now then
    answer.retry_at, answer.retry_after = retry_at, retry_at - now
  end
  answer.outcome, answer.tenant = fields.outcome, tenant
  answer.answered_by, answer.joined = "client", true
  answer.unread = fields.unread == true or nil
  return answer
end

--- Reads what `write` has made; nil for anything else.
---@param fields any
---@param tenant string? of the reader
---@param now number
---@param least number how far the clock was ahead of our monotonic clock when this was told: at least
---@param most number and at most; they differ where the clock was set meanwhile
---@return autopilot.SharedAnswer?
function shared_answer.read(fields, tenant, now, least, most)
  local is_ours = type(fields) == "table"
    and type(fields.id) == "string"
    and type(fields.told_by) == "string"
  if not is_ours then
    return nil
  end
  local sent, took = moment_of(fields.sent, most), seconds(fields.took)
  local attempts = count(fields.attempts)
  local name = one_of(outcome.all)(fields.outcome)
  local is_known = name and is_of_request(name) and delivered(fields.delivered)
  if not (sent and took and attempts and is_known) then
    return nil
  end
  local started = read_started(fields.started, most)
  if name == "started" and not (started and fields.delivered == "yes") then
    return nil
  end
  return {
    id = fields.id,
    told_by = fields.told_by,
    sent = sent,
    took = took,
    attempts = attempts,
    answer = answer_of(fields, tenant, now),
    started = started,
    -- A trigger at or after it will count, so the later moment is taken; of all others the earlier.
    unread_since = outcome.all[name].is_open and moment_of(fields.unread_since, least) or nil,
  }
end

return shared_answer
