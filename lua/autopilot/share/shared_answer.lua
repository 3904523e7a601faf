--- Turns the answer to one call's request into a text for the other calls of the tenant, and back.
--
-- The text comes out of a store that others may write to, so only fields of the right form are read. Times
-- in it are Unix seconds by the writer's clock when it wrote them. The reader converts them to its own
-- monotonic clock.

local json = require "autopilot.base.json"
local SharedKnowledge = require "autopilot.share.tenant_store"
local outcome = require "autopilot.sync.outcome"
local sentence = require "autopilot.base.sentence"

local time_text, time_of = SharedKnowledge.time_text, SharedKnowledge.time_of

local joined_report = {}

---@class autopilot.JoinedResult
---@field id string of the claim
---@field sent autopilot.Since when the request was sent
---@field told autopilot.Since when its answer was written into the store
---@field attempts integer how often it was made
---@field answer table in the shape of a report
---@field started autopilot.StartedFact? the sync that it started
---@field unread_since autopilot.Since? when the first request was sent whose result nothing shows yet

---@class autopilot.StartedFact
---@field since autopilot.Since when its request was sent
---@field known_at number when that was known
---@field earliest number when it was triggered; the service's clock
---@field latest number

-- Fields that are short texts. The writer has removed secrets from them. The reader cleans them again, because
-- others can write into the store.
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

--- Whether an outcome can be the answer to a request. Others follow from the record, or nothing was sent.
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

--- The Unix time of a moment of the monotonic clock, by the difference of the two clocks now.
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

--- Whether the request was not sent because the deadline of its call had passed.
local function was_too_late(posting, answer)
  return answer.outcome == "unreachable" and posting.call:time_left() <= 0
end

--- When the first lost request was sent whose result no client has read from the record; nil for none.
local function unread_since(posting, answer)
  local open = posting.is_unread and posting.unsettled
  return open
      and outcome.of(answer).is_open
      and time_text(shown(posting.call.client.options, open.since.clock))
    or nil
end

--- The result of a posting's request as text; nil when there is none that other calls could use.
---@param id string of the claim
---@param posting autopilot.Posting
---@param answer table
---@param of_another autopilot.JoinedResult? the result of the request that was answered, if it was another
-- call's. Its times are kept, so that only the calls that waited for that request take the answer
---@return string?
function joined_report.write(id, posting, answer, of_another)
  local memory, options = posting.call.client.memory, posting.call.client.options
  local is_started = answer.outcome == "started"
  local sent = of_another and of_another.sent.clock
    or is_started and memory.started_clock
    or (posting.sent and posting.sent.clock)
  if not sent or not is_of_request(answer.outcome) or was_too_late(posting, answer) then
    return nil -- nothing was sent, or only the deadline of this call was the reason
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

--- Reads a result that `write` has written; nil for any other text.
---@param text string?
---@param tenant string? of the reader
---@param now number
---@param least number how far the Unix time in the text is ahead of our monotonic clock, at least
---@param most number and at most; the two differ if that clock was set, perhaps after the text was written
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
    -- A trigger at or after this moment counts as the request's, so the later end of the range is taken here;
    -- for the other times the earlier end.
    unread_since = outcome.all[name].is_open and moment_of(fields.unread_since, least) or nil,
  }
end

return joined_report
