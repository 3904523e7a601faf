--- The options that say which sync is meant: `since`, and `max_age`.

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

return since
