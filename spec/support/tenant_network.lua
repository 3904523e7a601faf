--- The network between a client and the tenant model: latencies, losses, gateways, and the answers' form.
--
-- A transport of the client. It knows what became of every request: when it arrived, how often,
-- what it did there and what the client heard of that.

local service_text = require "support.service_text"

local Network = {}
Network.__index = Network

---@class spec.Request
---@field number integer
---@field method string
---@field sent number exact, the service's time
---@field done number when the client had its answer, or gave up
---@field arrived integer how often it reached the service
---@field sends integer how often it may have been put on the wire
---@field answer table? what the client heard from the service: `kind`, `retry_after`, `record`, `date`
---@field sync table? the sync that it began

local gateway_page = "<html><head><title>Bad Gateway</title></head></html>"
local filter_page = "<!DOCTYPE html><html><head><title>Access blocked</title></head><body>"
  .. "<h1>Your organisation does not allow this page</h1></body></html>"

-- ---- The service at the other end ---------------------------------------------------------------

local statuses = { started = 204, record = 200, in_progress = 409, cooldown = 429 }

--- What the service does with the request that has just arrived, and what it answers.
local function serve(self, request)
  local model, rules = self.model, self.model.rules
  request.arrived = request.arrived + 1
  local answer = { at = model.now, date = math.floor(model.now), is_services = true }
  answer.node = self.rules.is_mixed and request.number % 2 or nil
  if request.token ~= "token-" .. model.generation then
    answer.kind, answer.status = "unauthenticated", 401
  elseif request.is_throttled then
    answer.kind, answer.status = "throttled", 429
    answer.retry_after = request.retry_after
  elseif request.method == "GET" then
    answer.kind, answer.record = "record", model:record()
  else
    answer.kind = model:ask(request)
    local sync = answer.kind == "started" and model.syncs[#model.syncs]
    request.sync = sync or request.sync
    if answer.kind == "in_progress" and rules.retry_after_at_409 then
      answer.retry_after = 20
    elseif answer.kind == "cooldown" and rules.retry_after_at_429 then
      answer.retry_after = math.ceil(model:cooldown_end() - model.now)
    end
  end
  answer.status = answer.status or statuses[answer.kind]
  return answer
end

--- The answer as the client gets it.
local function response_of(self, answer)
  local headers = { ["date"] = service_text.http_date(answer.date) }
  headers["request-id"] = answer.is_services and "made-up" or nil
  local body = ""
  if answer.record then
    body = service_text.record_body(answer.record, self.rules)
  elseif answer.kind == "unauthenticated" then
    headers["www-authenticate"] = 'Bearer error="invalid_token"'
  elseif answer.kind == "gateway" then
    body = gateway_page
  elseif answer.kind == "filter" then
    headers["content-type"], body = "text/html", filter_page
  elseif answer.kind == "redirect" then
    headers["location"] = "https://elsewhere.example/"
  end
  if answer.retry_after then
    headers["retry-after"] = ("%d"):format(answer.retry_after)
  end
  local http_version = answer.node == 1 and "1.1" or "2"
  return { status = answer.status, headers = headers, body = body, http_version = http_version }
end

-- ---- What can become of a request ---------------------------------------------------------------

local function failure(request, delivered, stage, name, sends)
  request.heard = name
  return nil,
    {
      stage = stage,
      name = name,
      message = "made up",
      timeout = name == "CURLE_OPERATION_TIMEDOUT",
      delivered = delivered,
      sends = sends or request.sends,
    }
end

local function arrive(self, request, after)
  local model = self.model
  model:at(model.now + after, function()
    request.last = serve(self, request)
    model:note(
      "    request %d arrives: %s%s",
      request.number,
      request.last.kind,
      request.sync and " (began a sync)" or ""
    )
  end)
end

--- Time passes until the client hears or gives up; false when it has given up.
local function wait(self, request, seconds)
  local model = self.model
  local limit = request.sent + request.timeout
  local done = math.min(model.now + seconds, limit)
  local is_in_time = model.now + seconds < limit or seconds == 0
  model:advance(done)
  return is_in_time
end

local function timed_out(request)
  return failure(request, "unknown", "receive", "CURLE_OPERATION_TIMEDOUT")
end

--- The client hears what the service answered last.
local function hear(self, request, seconds)
  if not wait(self, request, seconds) or not request.last then
    return timed_out(request)
  end
  request.answer = request.last
  request.heard = request.answer.kind
  return response_of(self, request.answer)
end

--- A server in between answers instead of the service, with its own clock.
local function hear_gateway(self, request, seconds, kind, status, retry_after)
  if not wait(self, request, seconds) then
    return timed_out(request)
  end
  request.heard = ("%s %d"):format(kind, status)
  request.answer = {
    kind = kind,
    status = status,
    retry_after = retry_after,
    date = math.floor(self.model.now + self.rules.gateway_ahead),
  }
  return response_of(self, request.answer)
end

local function gateway_status(choices)
  return choices:pick { 502, 503, 504, 500 }, choices:pick { false, false, 3, 40 } or nil
end

local fates = {}

function fates.plain(self, request, up, down)
  arrive(self, request, up)
  return hear(self, request, up + down)
end

function fates.unsent(self, request, up)
  request.sends = 0
  wait(self, request, up)
  local name = self.model.choices:pick { "CURLE_COULDNT_CONNECT", "CURLE_COULDNT_RESOLVE_HOST" }
  return failure(request, "no", "connect", name, 0)
end

function fates.lost_request(self, request, up, down)
  if self.model.choices:chance(0.3) then
    wait(self, request, 1e6)
    return timed_out(request)
  end
  wait(self, request, up + down)
  return failure(request, "unknown", "receive", "CURLE_RECV_ERROR")
end

function fates.lost_answer(self, request, up, down)
  arrive(self, request, up)
  if self.model.choices:chance(0.3) then
    wait(self, request, 1e6)
    return timed_out(request)
  end
  wait(self, request, up + down)
  return failure(request, "unknown", "receive", "CURLE_GOT_NOTHING")
end

--- It is still under way when the client has given up.
function fates.late_request(self, request, up, down)
  local reset_after = self.model.choices:chance(0.5) and up or 1e6
  wait(self, request, reset_after)
  arrive(self, request, Network.grid + down + self.model.choices:seconds(20))
  return failure(request, "unknown", "receive", "CURLE_RECV_ERROR")
end

--- Put on the wire twice; one or both arrive.
function fates.duplicated(self, request, up, down)
  request.sends = 2
  if self.model.choices:chance(0.8) then
    arrive(self, request, up)
  end
  wait(self, request, up + down)
  if self.model.choices:chance(0.2) then
    return failure(request, "unknown", "receive", "CURLE_RECV_ERROR")
  end
  arrive(self, request, up)
  return hear(self, request, up + down)
end

function fates.gateway_before(self, request, up, down)
  return hear_gateway(self, request, up + down, "gateway", gateway_status(self.model.choices))
end

function fates.gateway_after(self, request, up, down)
  arrive(self, request, up)
  return hear_gateway(self, request, up + down, "gateway", gateway_status(self.model.choices))
end

function fates.captive_portal(self, request, up, down)
  return hear_gateway(self, request, up + down, "portal", 200)
end

--- A page of a web filter, which has none of the headers that Graph's answers have.
function fates.filter(self, request, up, down)
  local choices = self.model.choices
  local status = choices:pick { 403, 429, 200, 503, 409, 404, 401, 451 }
  local retry_after = status == 429 and choices:pick { false, 3, 40 } or nil
  return hear_gateway(self, request, up + down, "filter", status, retry_after)
end

--- In a farm whose nodes speak different versions of HTTP, the answer came on a connection that another
-- request was put on too: its owner is unknown.
function fates.shared_connection(self, request, up, down)
  if self.model.choices:chance(0.7) then
    arrive(self, request, up)
  end
  wait(self, request, up + down)
  return failure(request, "unknown", "receive", "SHARED_CONNECTION")
end

function fates.redirect(self, request, up, down)
  return hear_gateway(self, request, up + down, "redirect", 302)
end

function fates.throttled(self, request, up, down)
  request.is_throttled = true
  request.retry_after = self.model.choices:pick { 2, 30, 200 }
  return fates.plain(self, request, up, down)
end

local faults = {
  { 3, "lost_answer", 2, "lost_request", 1, "unsent", 1, "late_request", 2, "duplicated" },
  { 2, "gateway_after", 2, "gateway_before", 1, "throttled", 1, "captive_portal", 1, "redirect" },
  { 3, "plain", 2, "shared_connection" },
  { 1, "filter" },
}

--- The fate of this request: mostly nothing.
local function fate_of(self, request)
  local rules, choices = self.rules, self.model.choices
  local likely = request.method == "POST" and rules.post_faults or rules.get_faults
  if likely == 0 or not choices:chance(likely) then
    return "plain"
  end
  return choices:weighted(choices:pick(faults))
end

local function latency(self)
  local most = self.rules.latency
  return most == 0 and 0 or Network.grid + self.model.choices:seconds(most)
end

-- ---- The transport ------------------------------------------------------------------------------

Network.grid = 1 / 128

--- The network of a model, whatever its clients.
function Network.new(model)
  local choices = model.choices
  return setmetatable({
    model = model,
    requests = {},
    rules = {
      latency = choices:pick { 0, 0.1, 0.03, 0.7, 3 },
      post_faults = choices:pick { 0, 0.5, 0.25, 0.8 },
      ambushes = choices:pick { 0, 0.1, 0.6 },
      get_faults = choices:pick { 0, 0, 0.1, 0.4 },
      zone = choices:pick { 0, 0, -8, 2 },
      is_wrapped = choices:chance(0.2),
      is_mixed = choices:chance(0.3), -- every second node without HTTP/2
      gateway_ahead = choices:pick { 0, 0, 90, -3600, 1e6 },
    },
  }, Network)
end

--- Another client asks for a sync around the very moment of our request.
local function ambush(self)
  local model, choices = self.model, self.model.choices
  local before = choices:seconds(1.5)
  local time = choices:chance(0.6) and model.now - before or model.now + before
  if time > model.settled then
    model:at(time, function()
      model:ask "other"
    end)
    model:advance(model.now)
  end
end

--- The HTTP layer for one client.
---@param client table gets `requests`, in order
---@return function transport
function Network:transport(client)
  local model = self.model
  return function(asked)
    local request = {
      number = #self.requests + 1,
      client = client,
      method = asked.method,
      token = asked.headers["Authorization"]:match "^Bearer (.*)$",
      id = asked.headers["client-request-id"],
      timeout = asked.timeout.total,
      arrived = 0,
      sends = 1,
    }
    if request.method == "POST" and model.choices:chance(self.rules.ambushes) then
      ambush(self)
    end
    request.sent = model.now
    self.requests[request.number] = request
    client.on_request(request)
    local fate = fate_of(self, request)
    model:note("  request %d: %s (%s)", request.number, request.method, fate)
    local response, network = fates[fate](self, request, latency(self), latency(self))
    request.done = model.now
    if response then
      response.sends = request.sends
      model.settled = math.max(model.settled, request.last and request.last.at or 0)
    end
    model:note("  request %d: the client hears %s", request.number, request.heard)
    client.on_answer(request)
    return response, network
  end
end

return Network
