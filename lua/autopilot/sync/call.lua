--- One call of a client's method: its options, its deadline and its first attempt. It remembers when its last
-- sleep is due to end. A `sync` without a deadline gets one when it begins to wait for the sync.

local retries = require("autopilot.base.lazy") "autopilot.sync.retries"

---@class autopilot.Call times are on the client's clock
---@field client autopilot.Client
---@field name "sync"|"status"|"wait"|"ensure"|"token"
---@field began number
---@field deadline number?
---@field since number? of `ensure`: a sync that was triggered before it does not count
---@field is_single_pass boolean? of `ensure` without `wait`: do not sleep, do not retry
---@field wait boolean? of `sync` and `ensure`: until the sync has completed
---@field force boolean? of `sync`: send the request even if a refusal is expected
---@field client_request_id string? of `sync`: for the first request that is sent; nil: a new id for each
---@field on_progress function?
---@field steps table[]? what was done and why, for the report
---@field slept_until number? when the last sleep was to end
local Call = {}
Call.__index = Call

--- Begins a call.
---@param client autopilot.Client
---@param name "sync"|"status"|"wait"|"ensure"|"token"
---@param wanted table? the checked options of the method, a table that becomes the call; `deadline` or `timeout` in seconds
---@return autopilot.Call
function Call.new(client, name, wanted)
  local call, began = setmetatable(wanted or {}, Call), client.options.clock()
  local seconds = call.deadline or call.timeout
  call.client, call.name, call.began = client, name, began
  call.deadline = seconds and began + seconds
  return call
end

-- ---- Time --------------------------------------------------------------------------------------------

--- Sleeps, and remembers when the sleep is due to end. Thousands of calls may sleep at the same time, so a
-- tail call saves a stack frame for each.
---@param seconds number
function Call:sleep(seconds)
  self.slept_until = self:now() + seconds
  return self.client.options.sleep(seconds)
end

--- The current time; not earlier than the due end of the last sleep, which may have returned slightly early.
---@return number
function Call:now()
  return math.max(self.client.options.clock(), self.slept_until or -math.huge)
end

--- Seconds until the deadline; without one, infinity.
---@return number
function Call:time_left()
  return (self.deadline or math.huge) - self.client.options.clock()
end

-- ---- Errors ------------------------------------------------------------------------------------------

--- Raises the answer's `mistake`, if it has one, as an error at the line that called the method.
---@param answer table
function Call:raise_mistake(answer)
  if answer.mistake then
    error(("client:%s: %s"):format(self.name, answer.mistake), 3)
  end
end

-- ---- Attempts ----------------------------------------------------------------------------------------

---@class autopilot.Attempted what is attempted, and repeated as the retry policy says
--- Makes one attempt, `delay` seconds after the one before. Returns the answer; after a failure that may be retried
--- also the report for the policy, and optionally a higher number for the attempt.
---@field try fun(self, number: integer, delay: number): table, table?, integer?
---@field before_wait (fun(self, answer: table, seconds: number))?

--- Tries until there is success, or the retry policy ends the attempts.
---@param task autopilot.Attempted
---@return table answer the last one; `gave_up` is the reason why no other attempt was made
function Call:attempt(task)
  local answer, judged, counts_as = task:try(1, 0)
  if not judged then
    return answer
  end
  return retries.run(self, task, answer, judged, counts_as)
end

return Call
