--- `client:sync`: asks the service for a sync.
--
-- The loop is in `attempts`, one request in `exchange`; here is what is particular to this action:
-- not asking in vain, and settling whether a lost answer started it.

local attempts = require "autopilot.attempts"
local options = require "autopilot.options"
local report = require "autopilot.report"

local rules = {
  deadline = { type = "number", above = 0 },
  client_request_id = {
    type = "string",
    check = function(value)
      return not value:match "^[%w%-]+$" and "must consist of letters, digits and '-'" or nil
    end,
  },
}

--- Makes what came of the last attempt the report of the whole operation.
local function finish(operation, answer)
  answer.operation = operation.name
  answer.attempts = operation.attempts
  answer.elapsed = (operation.ended or operation.client.options.clock()) - operation.began
  answer.sends = nil -- told for each attempt
  return report.seal(answer)
end

local function try(operation)
  local answer = operation.client.sync_request:run(operation)
  return answer, answer.outcome ~= "started" and answer or nil
end

---@param client autopilot.Client
---@param given { deadline: number?, client_request_id: string? }?
---@return autopilot.Report?, autopilot.Report? failure
return function(client, given)
  client:check_open "sync"
  local wanted = given and options.check("client:sync", rules, given) or {}
  local operation = attempts.begin(client, "sync", wanted.deadline, {})
  operation.client_request_id = wanted.client_request_id
  local answer = attempts.run(operation, try)
  if answer.mistake then
    error("client:sync: " .. answer.mistake, 2)
  end
  return report.answer(finish(operation, answer))
end
