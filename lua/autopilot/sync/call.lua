--- One call of a method: what its caller wants, and how much time it has. It does not change, except that it
-- remembers when its last sleep was to end.

local protected_call = require("autopilot.base.lazy") "autopilot.base.protected_call"

---@class autopilot.Call
---@field client autopilot.Client
---@field name "sync"|"status"|"wait"|"ensure"|"token"
---@field began number on the client's clock
---@field deadline number? on the client's clock
---@field since autopilot.Since? of `ensure`: a sync that was triggered before it does not count
---@field is_single_pass boolean? of `ensure` without `wait`: neither sleep nor repeat anything
---@field force boolean? of `sync`: ask even where the answer is known
---@field on_progress function?
---@field steps table[]? what was done and why, for the report
---@field package slept_until number? when the last sleep was to end, Unix time
---@field package slept_until_clock number? the same on the client's clock
local Call = {}
Call.__index = Call

--- Begins a call.
---@param client autopilot.Client
---@param name "sync"|"status"|"wait"|"ensure"|"token"
---@param seconds number? until its deadline
---@param wanted { since: autopilot.Since?, is_single_pass: boolean?, force: boolean?, on_progress: function?, steps: table? }?
---@return autopilot.Call
function Call.new(client, name, seconds, wanted)
  local began = client.options.clock()
  wanted = wanted or {}
  return setmetatable({
    client = client,
    name = name,
    began = began,
    deadline = seconds and began + seconds,
    since = wanted.since,
    is_single_pass = wanted.is_single_pass,
    force = wanted.force,
    on_progress = wanted.on_progress,
    steps = wanted.steps,
  }, Call)
end

--- The call itself if it has a deadline; else a copy with a deadline in so many seconds.
---@param seconds number
---@return autopilot.Call
function Call:within(seconds)
  if self.deadline then
    return self
  end
  local call = {}
  for name, value in pairs(self) do
    call[name] = value
  end
  call.deadline = self.client.options.clock() + seconds
  return setmetatable(call, Call)
end

--- Sleeps, and remembers until when. Thousands of calls may sleep at a time: the tail call leaves no frame
-- behind.
---@param seconds number
function Call:sleep(seconds)
  local options = self.client.options
  self.slept_until = options.now() + seconds
  self.slept_until_clock = options.clock() + seconds
  return options.sleep(seconds)
end

--- The time on both clocks. A sleep counts as over when it returns, even if it returned slightly early or a
-- clock was set back.
---@return number now Unix time of the client's clock
---@return number clock the client's monotonic clock
function Call:now()
  local options = self.client.options
  return math.max(options.now(), self.slept_until or 0),
    math.max(options.clock(), self.slept_until_clock or 0)
end

--- Seconds until the deadline; without one, infinity.
---@return number
function Call:time_left()
  return (self.deadline or math.huge) - self.client.options.clock()
end

--- Raises, at the line that called the method, what an answer says is a mistake of that caller.
---@param answer table
function Call:raise_mistake(answer)
  if answer.mistake then
    error(("client:%s: %s"):format(self.name, answer.mistake), 3)
  end
end

--- Tells the observer of the progress; an error in it is ignored.
---@param progress table
function Call:tell(progress)
  if self.on_progress then
    progress.elapsed = self.client.options.clock() - self.began
    protected_call(self.on_progress, progress)
  end
end

--- Adds a step to those of the report, unless it repeats the last one.
---@param action string
---@param reason string
function Call:note(action, reason)
  local steps = self.steps
  local last = steps and steps[#steps]
  if steps and not (last and last.action == action and last.reason == reason) then
    local at = self.client.options.clock() - self.began
    steps[#steps + 1] = { action = action, reason = reason, at = at }
  end
end

return Call
