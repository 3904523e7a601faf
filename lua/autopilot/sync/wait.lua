--- `client:wait`: waits until a sync has completed that was triggered at or after a moment.

local attempts = require "autopilot.sync.attempts"
local completion = require "autopilot.sync.completion"
local options = require "autopilot.base.options"
local since = require "autopilot.sync.since"
local sync = require "autopilot.sync.sync"

local wait = {}

--- Without `since` it follows this client's last started sync, else the last that anybody triggered.
---@param client autopilot.Client
---@param given { since: number?, timeout: number?, on_progress: fun(progress: autopilot.Progress)? }?
---@return autopilot.Report? report
---@return autopilot.Report? failure
function wait.call(client, given)
  client:check_open "wait"
  local wanted = options.check("client:wait", since.rules, given)
  since.check("wait", client, wanted.since)
  local operation = attempts.begin(client, "wait", wanted.timeout or completion.default_timeout)
  operation.on_progress = wanted.on_progress
  operation.steps = {}
  local meant = wanted.since and since.of(client, wanted.since) or client.memory:since_own()
  local answer = completion.await(operation, meant)
  if answer.mistake then
    error("client:wait: " .. answer.mistake, 2)
  end
  return sync.deliver(operation, answer)
end

return wait
