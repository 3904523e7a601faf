--- What can go wrong between a client and the service: one function for each kind of fault.
--
-- Each decides whether the request arrives, whether it takes effect, and what the client gets.

local answers = require "autopilot.emulator.answers"
local challenges = require "autopilot.emulator.challenges"
local graph = require "autopilot.emulator.graph"

local faults = {}

---@class autopilot.emulator.Fault
---@field kind string see `faults.kinds`
---@field on string? `sync`, `status`, `token`, `device_code`, `identity`, `discovery` or `other`: waits for such a request; nil takes the next one
---@field seconds number? `slow_answer`: how late; `slow_sync`: how long it runs; `stale_read`: how old
---@field status integer? `status`: what is answered
---@field headers table<string, string>? `status`
---@field body string? `status`
---@field after boolean? `status`: the request takes effect before
---@field retry_after (number|string)? `throttle`: the header's value; default 10
---@field claims string? `claims_challenge`: the claims request, JSON; default: a token from now on
---@field encoding string? `claims_challenge`: `base64` (default) or `base64url`
---@field noise boolean? `claims_challenge`: a challenge of another scheme stands before it
---@field network table? fields of the network failure that are to differ: stage, name, message, timeout

---@class autopilot.emulator.Exchange
---@field effect fun(change: table?): table the request arrives and is processed; its answer
---@field arrival fun(answer: (fun(call: autopilot.emulator.Call): table)): table it arrives, without effect; the answer made for it
---@field pause fun(seconds: number) time passes before the client gets its answer
---@field now fun(): number Unix seconds
---@field timeout number? seconds that the client waits for an answer
---@field call autopilot.emulator.Call? the request that has arrived last

local function network(fault, delivered, stage, name, message)
  local failure = {
    stage = stage,
    name = name,
    message = message,
    timeout = false,
    delivered = delivered,
  }
  for field, value in pairs(fault.network or {}) do
    failure[field] = value
  end
  return nil, failure
end

local function connection_lost(fault)
  return network(fault, "unknown", "receive", "CURLE_RECV_ERROR", "Connection reset by peer")
end

--- Kind of fault -> what happens. Each returns a response, or nil and the network failure.
---@type table<string, fun(fault: autopilot.emulator.Fault, exchange: autopilot.emulator.Exchange): table?, table?>
faults.kinds = {
  --- The connection is refused: surely nothing was sent.
  unsent = function(fault)
    return network(fault, "no", "connect", "CURLE_COULDNT_CONNECT", "Connection refused")
  end,

  --- Sent, but it never reaches the service; the client cannot know that.
  lost_request = function(fault)
    return connection_lost(fault)
  end,

  --- Processed, but the answer is lost.
  lost_answer = function(fault, exchange)
    exchange.effect()
    return connection_lost(fault)
  end,

  --- Arrives twice; the client gets the second answer.
  duplicated = function(_, exchange)
    exchange.effect()
    return exchange.effect()
  end,

  --- Processed at once and answered late, or too late for the client's timeout.
  slow_answer = function(fault, exchange)
    local response = exchange.effect()
    local limit = exchange.timeout
    if limit and fault.seconds >= limit then
      exchange.pause(limit)
      local timed_out = ("Operation timed out after %.0f milliseconds"):format(limit * 1000)
      local _, failure = network(fault, "unknown", "receive", "CURLE_OPERATION_TIMEDOUT", timed_out)
      failure.timeout = true
      return nil, failure
    end
    exchange.pause(fault.seconds)
    return response
  end,

  --- Any answer, of a gateway for example, instead of the service's own: before the effect or after it.
  status = function(fault, exchange)
    local function answer(call)
      return answers.plain(call, fault.status, fault.body, fault.headers)
    end
    if not fault.after then
      return exchange.arrival(answer)
    end
    exchange.effect()
    return answer(exchange.call)
  end,

  --- General throttling: 429 with Retry-After, without effect.
  throttle = function(fault, exchange)
    return exchange.arrival(function(call)
      return graph.throttled(call, fault.retry_after or 10)
    end)
  end,

  --- From this request to Graph on the tenant's tokens must have been asked for with these claims: the
  -- service says so in a claims challenge, until one comes that was.
  claims_challenge = function(fault, exchange)
    local now = exchange.now()
    return exchange.effect {
      challenge = challenges.new(fault.claims, fault.encoding, now, fault.noise),
    }
  end,

  --- The record of some time ago is served.
  stale_read = function(fault, exchange)
    return exchange.effect { age = fault.seconds }
  end,

  --- The sync that this request starts takes that long.
  slow_sync = function(fault, exchange)
    return exchange.effect { duration = fault.seconds }
  end,

  --- The sync that this request starts will fail.
  failed_sync = function(fault, exchange)
    return exchange.effect { failed = true, duration = fault.seconds }
  end,
}

local needs_seconds = { slow_answer = true, slow_sync = true, stale_read = true }
local operations = {
  sync = true,
  status = true,
  token = true,
  device_code = true,
  identity = true,
  discovery = true,
  other = true,
}
local encodings = { base64 = true, base64url = true }
local fields = {
  kind = true,
  on = true,
  seconds = true,
  status = true,
  headers = true,
  body = true,
  after = true,
  retry_after = true,
  claims = true,
  encoding = true,
  noise = true,
  network = true,
}

local function complaint_about_challenge(fault)
  if fault.encoding ~= nil and not encodings[fault.encoding] then
    return "must have an encoding that is base64 or base64url"
  elseif fault.claims ~= nil then
    local right = type(fault.claims) == "string" and challenges.new(fault.claims, nil, 0)
    return not right and "must have claims that are a JSON object" or nil
  end
end

--- Says what is wrong with a fault, or nil when it is right.
---@param fault any
---@return string?
function faults.complaint(fault)
  if type(fault) ~= "table" then
    return "must be a table"
  elseif not faults.kinds[fault.kind] then
    return "must have a known kind"
  elseif fault.on ~= nil and not operations[fault.on] then
    return "must be on sync, status, token, device_code, identity, discovery or other"
  elseif fault.kind == "status" and type(fault.status) ~= "number" then
    return "of kind status must have a status"
  elseif complaint_about_challenge(fault) then
    return complaint_about_challenge(fault)
  end
  for name in pairs(fault) do
    if not fields[name] then
      return ("must not have the field '%s'"):format(tostring(name))
    end
  end
  local seconds = fault.seconds
  if seconds == nil then
    return needs_seconds[fault.kind] and ("of kind %s must have seconds"):format(fault.kind) or nil
  elseif type(seconds) ~= "number" or not (seconds >= 0 and seconds < math.huge) then
    return "must have seconds that are a number, at least 0"
  end
  return nil
end

--- Takes the first fault of a list that waits for such an operation.
---@param list autopilot.emulator.Fault[]
---@param operation string
---@return autopilot.emulator.Fault?
function faults.take(list, operation)
  for index, fault in ipairs(list) do
    if fault.on == nil or fault.on == operation then
      return table.remove(list, index)
    end
  end
  return nil
end

return faults
