--- What can go wrong between a client and the service: how each kind of fault differs from the usual course.

local answers = require "autopilot.emulator.answers"
local challenges = require "autopilot.emulator.challenges"
local merged = require "autopilot.base.merged"

local faults = {}

---@class autopilot.emulator.Fault
---@field kind string see `faults.kinds`
---@field on string? an operation: the fault waits for such a request; nil: it meets the next request
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

--- The operations of requests, which faults wait for and `Emulator.requests` counts.
faults.operations = { "sync", "status", "token", "device_code", "identity", "discovery", "other" }

local refused = {
  stage = "connect",
  name = "CURLE_COULDNT_CONNECT",
  message = "Connection refused",
  timeout = false,
  delivered = "no",
}
local lost = {
  stage = "receive",
  name = "CURLE_RECV_ERROR",
  message = "Connection reset by peer",
  timeout = false,
  delivered = "unknown",
}

---@class autopilot.emulator.FaultKind
---@field name string
---@field arrivals integer? how often the request arrives; default 1
---@field network table? the failure that the client sees instead of an answer
---@field is_late boolean? the answer comes after `seconds`, or not before the client's timeout
---@field needs_seconds boolean?
---@field answer (fun(fault: autopilot.emulator.Fault, call: autopilot.emulator.Call): table)? makes what is answered instead of the service's answer
---@field change (fun(fault: autopilot.emulator.Fault, now: number): table)? makes `autopilot.emulator.Call.change`

--- A change in which `seconds` of the fault are called so.
local function seconds_as(name, failed)
  return function(fault)
    return { [name] = fault.seconds, failed = failed }
  end
end

---@type autopilot.emulator.FaultKind[] in the order of the help
faults.list = {
  -- The connection is refused: surely nothing was sent.
  { name = "unsent", arrivals = 0, network = refused },
  -- Sent, but it never reaches the service, which the client cannot know.
  { name = "lost_request", arrivals = 0, network = lost },
  -- Processed, but the answer is lost.
  { name = "lost_answer", network = lost },
  -- Arrives twice; the client gets the second answer.
  { name = "duplicated", arrivals = 2 },
  -- Processed at once and answered late, or too late for the client's timeout.
  { name = "slow_answer", needs_seconds = true, is_late = true },
  -- Any answer, of a gateway for example, instead of the service's own: before the effect or after it.
  {
    name = "status",
    answer = function(fault, call)
      return answers.plain(call, fault.status, fault.body, fault.headers)
    end,
  },
  -- General throttling, which has nothing to do with the cooldown: 429 with Retry-After, without effect.
  {
    name = "throttle",
    answer = function(fault, call)
      local told = { ["retry-after"] = tostring(fault.retry_after or 10) }
      return answers.graph_error(call, 429, "Too many requests.", told)
    end,
  },
  -- From this request to Graph on, the tenant's tokens must have been asked for with these claims.
  {
    name = "claims_challenge",
    change = function(fault, now)
      return { challenge = challenges.new(fault, now) }
    end,
  },
  -- The record of some time ago is served.
  { name = "stale_read", needs_seconds = true, change = seconds_as "age" },
  -- The sync that this request starts takes that long.
  { name = "slow_sync", needs_seconds = true, change = seconds_as "duration" },
  -- The sync that this request starts will fail.
  { name = "failed_sync", change = seconds_as("duration", true) },
}

--- The same by name.
---@type table<string, autopilot.emulator.FaultKind>
faults.kinds = {}
for _, kind in ipairs(faults.list) do
  faults.kinds[kind.name] = kind
end

local function set_of(names)
  local set = {}
  for name in names:gmatch "%S+" do
    set[name] = true
  end
  return set
end

local known_operations = set_of(table.concat(faults.operations, " "))
local known_fields =
  set_of "kind on seconds status headers body after retry_after claims encoding noise network"

local function is_duration(value)
  return type(value) == "number" and value >= 0 and value < math.huge
end

--- Says what is wrong with a fault, or nil when it is right.
---@param fault any
---@return string?
function faults.complaint(fault)
  local kind = type(fault) == "table" and faults.kinds[fault.kind]
  if type(fault) ~= "table" then
    return "must be a table"
  elseif not kind then
    return "must have a known kind"
  elseif fault.on ~= nil and not known_operations[fault.on] then
    local others = table.concat(faults.operations, ", "):gsub(", (%w+)$", " or %1")
    return "must be on " .. others
  elseif fault.kind == "status" and type(fault.status) ~= "number" then
    return "of kind status must have a status"
  elseif kind.needs_seconds and fault.seconds == nil then
    return ("of kind %s must have seconds"):format(fault.kind)
  elseif fault.seconds ~= nil and not is_duration(fault.seconds) then
    return "must have seconds that are a number, at least 0"
  elseif fault.encoding and fault.encoding ~= "base64" and fault.encoding ~= "base64url" then
    return "must have an encoding that is base64 or base64url"
  elseif fault.claims ~= nil and not challenges.read(fault.claims) then
    return "must have claims that are a JSON object"
  end
  for name in pairs(fault) do
    if not known_fields[name] then
      return ("must not have the field '%s'"):format(tostring(name))
    end
  end
end

--- The network failure that a fault causes; `limit` is the client's timeout, where that ended the request.
function faults.network(fault, limit)
  local usual = faults.kinds[fault.kind].network
  if limit then
    usual = merged(lost, {
      name = "CURLE_OPERATION_TIMEDOUT",
      message = ("Operation timed out after %.0f milliseconds"):format(limit * 1000),
      timeout = true,
    })
  end
  return merged(usual, fault.network)
end

return faults
