--- The options that say which sync is meant: `since`, and `max_age`.

---@class autopilot.Since a moment of ours, by both our clocks: the first may be set meanwhile
---@field at number Unix time, as it was shown then
---@field clock number the same on our monotonic clock
---@field is_told boolean? the caller has told it, from a time of which we do not know how our clock went

local since = {}

since.rules = {
  since = { type = "number", min = 0 },
  timeout = { type = "number", above = 0 },
  on_progress = { type = "function" },
}

--- Raises for a moment that has not come yet: nothing can have happened at or after it.
---@param method string for the message
---@param client autopilot.Client
---@param moment number? Unix time of the client's clock
function since.check(method, client, moment)
  if moment and moment > client.options.now() then
    error(("client:%s: option 'since' must not be in the future"):format(method), 3)
  end
end

--- The moment that a caller means, as the clock goes now.
---@param client autopilot.Client
---@param moment number Unix time of the client's clock
---@return autopilot.Since
function since.of(client, moment)
  local options = client.options
  moment = math.max(moment, client.service_clock.set_at)
  local age = options.now() - moment
  return { at = moment, clock = options.clock() - age, is_told = true }
end

return since
