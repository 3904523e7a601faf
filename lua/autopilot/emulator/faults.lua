--- What can go wrong between a client and the service.

local answers = require "autopilot.emulator.answers"
local json = require "autopilot.base.json"
local options = require "autopilot.base.options"
local suggestion = require("autopilot.base.option_mistake").suggestion

local faults = {}

---@class autopilot.emulator.Fault
---@field kind string see `faults.kinds`
---@field on string? an operation: the next such request meets the fault; nil: the next request of any kind
---@field seconds number? `slow_answer`: how late; `slow_sync`: how long it runs; `stale_read`: how old
---@field status integer? `status`: what is answered
---@field headers table<string, string|number>? `status`
---@field body string? `status`
---@field after boolean? `status`: the request takes effect before
---@field retry_after (number|string)? `throttle`: the header's value; default 10
---@field claims string? `claims_challenge`: the claims request, JSON; default: a token from now on
---@field encoding string? `claims_challenge`: `base64` (default) or `base64url`
---@field noise boolean? `claims_challenge`: a challenge of another scheme stands before it
---@field network table? fields of the network failure that are to differ: stage, name, message, timeout

--- The operations of requests, which faults wait for and `Emulator.requests` counts.
faults.operations = { "sync", "status", "token", "device_code", "identity", "discovery", "other" }

local of_graph = { sync = true, status = true, other = true }

local function failure(stage, name, message)
  local delivered = stage == "connect" and "no" or "unknown"
  return { stage = stage, name = name, message = message, timeout = false, delivered = delivered }
end

local refused = failure("connect", "CURLE_COULDNT_CONNECT", "Connection refused")
local lost = failure("receive", "CURLE_RECV_ERROR", "Connection reset by peer")
local late = failure("receive", "CURLE_OPERATION_TIMEDOUT", "Operation timed out")
late.timeout = true

--- What each kind of fault does. `arrivals`: how often the request arrives, by default once. `network`: the failure that
-- the client sees instead of an answer; with `is_late` only when its timeout is not above `seconds`. `needs`: a field
-- that such a fault must have. `answer`: makes what is answered in place of the service's answer.
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
  slow_answer = { needs = "seconds", is_late = true, network = late },
  -- Any answer, of a gateway for example, instead of the service's own: before the effect or after it.
  status = {
    needs = "status",
    answer = function(call)
      local fault = call.fault
      return answers.plain(call, fault.status, fault.body, fault.headers)
    end,
  },
  -- General throttling, which has nothing to do with the cooldown: 429 with Retry-After, without effect.
  throttle = {
    answer = function(call, operation)
      local headers = { ["retry-after"] = call.fault.retry_after or 10 }
      if of_graph[operation] then
        return answers.refusal(call, "throttled", nil, headers)
      end
      headers["content-type"] = "text/plain" -- as Entra has answered
      return answers.plain(call, 429, "Too Many Requests", headers)
    end,
  },
  -- From this request to Graph on, the tenant's tokens must have been asked for with these claims.
  claims_challenge = {},
  -- The record of some time ago is served.
  stale_read = { needs = "seconds" },
  -- The sync that this request starts takes that long.
  slow_sync = { needs = "seconds" },
  -- The sync that this request starts will fail.
  failed_sync = {},
}

---@type table<string, autopilot.OptionRule>
local rules = {
  kind = {
    type = "string",
    required = true,
    check = function(kind)
      return not faults.kinds[kind] and "must be known" .. suggestion("", kind, faults.kinds) or nil
    end,
  },
  on = { type = "string", one_of = faults.operations },
  seconds = { type = "number", min = 0 },
  status = { type = "integer", min = 200, max = 599 },
  headers = { type = "table" },
  body = { type = "string" },
  after = { type = "boolean" },
  retry_after = { type = { "number", "string" } },
  claims = {
    type = "string",
    check = function(claims)
      return type(json.decode(claims)) ~= "table" and "must be a JSON object" or nil
    end,
  },
  encoding = { type = "string", one_of = { "base64", "base64url" } },
  noise = { type = "boolean" },
  network = { type = "table" },
}

--- Checks a fault and returns it.
---@param name string what has it, for the message about a mistake
---@param fault any
---@param level integer as for `error`: 1 is the function that called this one
---@return autopilot.emulator.Fault
function faults.check(name, fault, level)
  local checked = options.check(name, rules, fault, level + 1)
  local needed = faults.kinds[checked.kind].needs
  if needed and not checked[needed] then
    error(("%s: a fault of kind '%s' must have %s"):format(name, checked.kind, needed), level + 1)
  end
  return checked
end

return faults
