--- `client:sync`: asks the service for a sync, and with `wait` waits until it has completed.

local Call = require "autopilot.sync.call"
local completion = require("autopilot.base.lazy") "autopilot.sync.wait"
local options = require "autopilot.base.options"
local post = require "autopilot.sync.post"

local rules = {
  deadline = { type = "number", above = 0 },
  wait = { type = "boolean" },
  force = { type = "boolean" },
  on_progress = { type = "function" },
  client_request_id = {
    type = "string",
    secret = true, -- a header's value is never quoted
    check = function(value)
      return (#value > 128 or not value:match "^[%w%-]+$")
          and "must consist of at most 128 letters, digits and '-'"
        or nil
    end,
  },
}

local sync = {}

---@param client autopilot.Client
---@param given { deadline: number?, wait: boolean?, force: boolean?, client_request_id: string?, on_progress: function? }?
---@return autopilot.Report? report
---@return autopilot.Report? failure
function sync.call(client, given)
  client:check_open "sync"
  local wanted = given == nil and {} or options.check("client:sync", rules, given)
  local call = Call.new(client, "sync", wanted.deadline, wanted)
  local posting = post.new(call, wanted.client_request_id)
  local answer = post.request(posting)
  if wanted.wait and answer.outcome == "started" then
    answer = completion.after_start(call, answer)
  end
  call:raise_mistake(answer)
  return post.report(posting, answer)
end

return sync
