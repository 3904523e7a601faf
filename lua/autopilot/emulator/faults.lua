--- What can go wrong between a client and the service.

local answers = require "autopilot.emulator.answers"
local challenges = require "autopilot.emulator.challenges"
local contains = require("autopilot.base.options").contains
local merged = require "autopilot.base.merged"
local mistake = require "autopilot.base.option_mistake"

local faults = {}

---@class autopilot.emulator.Fault
---@field kind string see `faults.kinds`
---@field on string? an operation: the next such request meets the fault; nil: the next request of any kind
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

local function failure(stage, name, message, delivered)
  return { stage = stage, name = name, message = message, timeout = false, delivered = delivered }
end

local refused = failure("connect", "CURLE_COULDNT_CONNECT", "Connection refused", "no")
local lost = failure("receive", "CURLE_RECV_ERROR", "Connection reset by peer", "unknown")

---@class autopilot.emulator.FaultKind
---@field arrivals integer? how often the request arrives; default 1
---@field network table? the failure that the client sees instead of an answer
---@field is_late boolean? the answer comes after `seconds`, or not before the client's timeout
---@field needs_seconds boolean?
---@field answer (fun(call: autopilot.emulator.Call): table)? makes what is answered instead of the service's answer

---@type table<string, autopilot.emulator.FaultKind>
faults.kinds = {
  -- The connection is refused: the request is not sent.
  unsent = { arrivals = 0, network = refused },
  -- Sent, but it never reaches the service, which the client cannot know.
  lost_request = { arrivals = 0, network = lost },
  -- Processed, but the answer is lost.
  lost_answer = { network = lost },
  -- Arrives twice; the client gets the second answer.
  duplicated = { arrivals = 2 },
  -- Processed at once and answered late, or too late for the client's timeout.
  slow_answer = { needs_seconds = true, is_late = true },
  -- Any answer, of a gateway for example, instead of the service's own: before the effect or after it.
  status = {
    answer = function(call)
      local fault = call.fault
      return answers.plain(call, fault.status, fault.body, fault.headers)
    end,
  },
  -- General throttling, which has nothing to do with the cooldown: 429 with Retry-After, without effect.
  throttle = {
    answer = function(call)
      local headers = { ["retry-after"] = tostring(call.fault.retry_after or 10) }
      return answers.graph_error(call, 429, "Too many requests.", headers)
    end,
  },
  -- From this request to Graph on, the tenant's tokens must have been asked for with these claims.
  claims_challenge = {},
  -- The record of some time ago is served.
  stale_read = { needs_seconds = true },
  -- The sync that this request starts takes that long.
  slow_sync = { needs_seconds = true },
  -- The sync that this request starts will fail.
  failed_sync = {},
}

-- The fields of a fault, and their types.
local field_types = {
  kind = "string",
  on = "string",
  seconds = "number",
  status = "number",
  headers = "table",
  body = "string",
  after = "boolean",
  retry_after = "number or string",
  claims = "string",
  encoding = "string",
  noise = "boolean",
  network = "table",
}

--- Says what is wrong with a fault, or nil when it is right.
---@param fault any
---@return string?
function faults.complaint(fault)
  if type(fault) ~= "table" then
    return "must be a table"
  end
  for name, value in pairs(fault) do
    local expected = field_types[name]
    if not expected then
      local hint = mistake.suggestion("", name, field_types)
      return ("must not have the field '%s'%s"):format(tostring(name), hint)
    elseif not expected:find(type(value), 1, true) then
      return ("must have the field '%s' as a %s"):format(name, expected)
    end
  end
  local kind, seconds = faults.kinds[fault.kind], fault.seconds
  if not kind then
    return "must have a known kind" .. mistake.suggestion("", fault.kind, faults.kinds)
  elseif fault.on and not contains(faults.operations, fault.on) then
    return "must be on " .. table.concat(faults.operations, ", "):gsub(", (%w+)$", " or %1")
  elseif fault.kind == "status" and not fault.status then
    return "of kind status must have a status"
  elseif kind.needs_seconds and not seconds then
    return ("of kind %s must have seconds"):format(fault.kind)
  elseif seconds and not (seconds >= 0 and seconds < math.huge) then
    return "must have seconds that are a number, at least 0"
  elseif not contains({ "base64", "base64url" }, fault.encoding or "base64") then
    return "must have an encoding that is base64 or base64url"
  elseif fault.claims and not challenges.read(fault.claims) then
    return "must have claims that are a JSON object"
  end
end

--- The network failure that a fault causes; `limit` is the client's timeout, where that ended the request.
function faults.network(fault, limit)
  local usual = faults.kinds[fault.kind].network
  if limit then
    local message = ("Operation timed out after %.0f milliseconds"):format(limit * 1000)
    usual = failure("receive", "CURLE_OPERATION_TIMEDOUT", message, "unknown")
    usual.timeout = true
  end
  return merged(usual, fault.network)
end

return faults
