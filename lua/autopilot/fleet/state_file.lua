--- The state of a fleet that was given the name of a file: opened for a run, and let go of at its end.

local fleet_state = require "autopilot.fleet.state"

local state_file = {}

--- Opens it, unless it is open.
---@param fleet autopilot.Fleet
---@return boolean? done
---@return string? message
function state_file.open(fleet)
  if fleet.options.state then
    return true
  end
  local state, message = fleet_state.open {
    path = fleet.state_file,
    subject = fleet.operation_name,
    now = fleet.now,
  }
  fleet.options.state = state
  return state and true, message
end

--- Lets go of it. A run that did not come to its end can be taken up again.
---@param fleet autopilot.Fleet
---@param is_complete boolean every tenant had its turn
---@return string? lost why something was not written
function state_file.close(fleet, is_complete)
  local state = fleet.options.state
  fleet.options.state = nil
  if state then
    if is_complete then
      state:finish()
    end
    state:close()
    return state.lost
  end
end

return state_file
