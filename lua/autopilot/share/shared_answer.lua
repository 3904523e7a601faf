--- The answer to one call's request, as text for the other calls of the tenant, and back.
--
-- The text comes out of a store that others may write to: only what has the right form is taken. Times
-- are of the clock that all who share the store have in common, as it shows them when they are told: who
-- reads them keeps them by its own monotonic clock.

local json = require "autopilot.base.json"
local SharedKnowledge = require "autopilot.share.tenant_store"
local outcome = require "autopilot.sync.outcome"
local sentence = require "autopilot.base.sentence"

local time_text, time_of = SharedKnowledge.time_text, SharedKnowledge.time_of

local joined_report = {}

---@class autopilot.JoinedResult
---@field id string of the claim
---@field sent autopilot.Since when the request was sent
---@field told autopilot.Since when its answer was told
---@field attempts integer how often it was made
---@field answer table in the shape of a report
---@field started autopilot.StartedFact? the sync that it started
---@field unread_since autopilot.Since? nobody has read what came of a lost request; when the first was sent

---@class autopilot.StartedFact
---@field since autopilot.Since when its request was sent
---@field known_at number when that was known
---@field earliest number when it was triggered; the service's clock
---@field latest number

-- Fields that are short texts. All of them have passed the search for secrets; what others write into the
-- store is made fit for a terminal again.
local texts = {
  "http_version",
  "tenant_id",
  "request_id",
  "client_request_id",
  "activity_id",
  "diagnostics",
  "hint",
}
local error_texts = { "code", "message", "reason" }
local network_texts = { "stage", "name", "message" }
local longest_text = 1000 -- characters

--- Whether an outcome can be that of a request: others follow from the record, or nothing was sent.
local function is_of_request(name)
  local row = outcome.all[name]
  return row and row.source ~= "record" and row.source ~= "client"
end

local deliveries = { yes = true, no = true, unknown = true }
local confirmations = { response = true, status = true }

local function copy_texts(from, names, to)
  if type(from) ~= "table" then
    return nil
  end
  for _, name in ipairs(names) do
    local text = from[name]
    to[name] = type(text) == "string" and sentence.clean(text, longest_text) or nil
  end
  return to
end

local function whole_number(value, least, most)
  local fits = type(value) == "number" and value >= least and value <= most and value % 1 == 0
  return fits and value or nil
end

--- What our Unix time would have shown at a moment of the monotonic clock, set as it is now.
local function shown(options, clock)
  local now = options.now() -- read first: what is between the two readings makes it earlier, never later
  return now - (options.clock() - clock)
end

---@param text string Unix time
---@param ahead number how far that is ahead of our monotonic clock
---@return autopilot.Since?
local function moment_of(text, ahead)
  local at = time_of(text)
  return at and { at = at, clock = at - ahead }
end

local function started_text(memory, options)
  local now, started_at = options.now(), shown(options, memory.started_clock)
  return {
    started_at = time_text(started_at),
    known_at = time_text(math.max(started_at, memory.accepted_at or now)),
    earliest = time_text(memory.own_earliest),
    latest = time_text(memory.own_latest),
  }
end

--- Whether only its own deadline kept it from being sent.
local function was_too_late(posting, answer)
  return answer.outcome == "unreachable" and posting.call:time_left() <= 0
end

--- When the first request was sent of which nobody has read what it came to.
local function unread_since(posting, answer)
  local open = posting.is_unread and posting.unsettled
  return open
      and outcome.of(answer).is_open
      and time_text(shown(posting.call.client.options, open.since.clock))
    or nil
end

--- What the request of a posting came to, as text; nil when that cannot be written.
---@param id string of the claim
---@param posting autopilot.Posting
---@param answer table
---@param of_another autopilot.JoinedResult? to whose request it is the answer. It is for those who were there
-- when that one's time was over: who came later never waited for the request
---@return string?
function joined_report.write(id, posting, answer, of_another)
  local memory, options = posting.call.client.memory, posting.call.client.options
  local is_started = answer.outcome == "started"
  local sent = of_another and of_another.sent.clock
    or is_started and memory.started_clock
    or (posting.sent and posting.sent.clock)
  if not sent or not is_of_request(answer.outcome) or was_too_late(posting, answer) then
    return nil -- nothing was, or not in the end, or it says nothing to who has more time
  end
  local network = copy_texts(answer.network, network_texts, {})
  if network then
    network.timeout, network.delivered = answer.network.timeout, answer.network.delivered
  end
  local fields = copy_texts(answer, texts, {
    id = id,
    sent = time_text(shown(options, sent)),
    told = time_text(of_another and shown(options, of_another.told.clock) or options.now()),
    attempts = of_another and of_another.attempts or #posting.attempts,
    unread = posting.is_blind,
    unread_since = unread_since(posting, answer),
    outcome = answer.outcome,
    status = answer.status,
    delivered = answer.delivered,
    confirmed_by = answer.confirmed_by,
    service_date = answer.service_date,
    retry_at = answer.retry_at and time_text(answer.retry_at),
    error = copy_texts(answer.error, error_texts, {}),
    network = network,
    started = is_started and started_text(memory, options) or nil,
  })
  return (json.encode(fields))
end

local function read_started(value, ahead)
  if type(value) ~= "table" then
    return nil
  end
  local fact = { since = moment_of(value.started_at, ahead) }
  for _, name in ipairs { "known_at", "earliest", "latest" } do
    fact[name] = time_of(value[name])
    if not fact[name] then
      return nil
    end
  end
  local is_possible = fact.since and fact.since.at <= fact.known_at and fact.earliest <= fact.latest
  return is_possible and fact or nil
end

local function read_network(value)
  local network = copy_texts(value, network_texts, {})
  if network then
    network.timeout = value.timeout == true
    network.delivered = deliveries[value.delivered] and value.delivered or nil
  end
  return network
end

local function answer_of(fields, tenant, now)
  local retry_at = time_of(fields.retry_at)
  retry_at = retry_at and retry_at > now and retry_at or nil
  return copy_texts(fields, texts, {
    outcome = fields.outcome,
    tenant = tenant,
    status = whole_number(fields.status, 100, 999),
    delivered = fields.delivered,
    confirmed_by = confirmations[fields.confirmed_by] and fields.confirmed_by or nil,
    answered_by = "client",
    joined = true,
    unread = fields.unread == true or nil,
    service_date = whole_number(fields.service_date, 0, 1e11),
    retry_at = retry_at,
    retry_after = retry_at and retry_at - now,
    error = copy_texts(fields.error, error_texts, {}),
    network = read_network(fields.network),
  })
end

--- What a text tells; nil when it is none of ours.
---@param text string?
---@param tenant string? of the reader
---@param now number
---@param least number how far Unix time, as the text tells it, is ahead of our monotonic clock: at least
---@param most number and at most; they differ where it was set, and nobody knows whether it was told before
---@return autopilot.JoinedResult?
function joined_report.read(text, tenant, now, least, most)
  local fields = text and json.decode(text)
  if type(fields) ~= "table" or type(fields.id) ~= "string" then
    return nil
  end
  local sent, told = moment_of(fields.sent, most), moment_of(fields.told, most)
  local attempts = whole_number(fields.attempts, 0, 1e6)
  local name = fields.outcome
  local is_known = type(name) == "string" and is_of_request(name)
  if not sent or not told or not attempts or not is_known or not deliveries[fields.delivered] then
    return nil
  end
  local started = read_started(fields.started, most)
  if name == "started" and not (started and fields.delivered == "yes") then
    return nil
  end
  return {
    id = fields.id,
    sent = sent,
    told = told,
    attempts = attempts,
    answer = answer_of(fields, tenant, now),
    started = started,
    -- A trigger at or after it will count, so the later one is taken; of all else the earlier.
    unread_since = outcome.all[name].is_open and moment_of(fields.unread_since, least) or nil,
  }
end

return joined_report
