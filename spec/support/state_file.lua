--- A fleet's state in a new file, for specs: opened any number of times, with a clock that is set.

local files = require "support.files"
local fleet_state = require "autopilot.fleet.state"
local overlay = require "support.overlay"
local report = require "autopilot.sync.report"

---@class StateFile
---@field path string
---@field now number what the clock says
local StateFile = {}
StateFile.__index = StateFile

local state_file = { start = 1790000000 }

---@return StateFile
function state_file.new()
  local path, remove = files.temporary ""
  local self = { path = path, remove = remove, now = state_file.start, states = {} }
  return setmetatable(self, StateFile)
end

--- Opens it as `autopilot.fleet.state` does.
---@param given table? options, also instead of ours
---@return table? state
---@return string? message
function StateFile:open(given)
  local wanted = {
    path = self.path,
    now = function()
      return self.now
    end,
  }
  overlay(wanted, given)
  local state, message = fleet_state.open(wanted)
  self.states[#self.states + 1] = state
  return state, message
end

--- What is in it.
---@return string
function StateFile:read()
  return assert(files.read(self.path), self.path)
end

--- Puts something else into it.
---@param text string
function StateFile:write(text)
  files.write(self.path, text)
end

--- Closes all that was opened, and removes the file and what SQLite leaves beside it.
function StateFile:close()
  for _, state in ipairs(self.states) do
    state:close()
  end
  self.remove()
  for _, suffix in ipairs { "-wal", "-shm", "-journal" } do
    os.remove(self.path .. suffix)
  end
end

--- The report of a sync that was started.
---@param tenant string
---@return autopilot.Report
function state_file.started(tenant)
  return report.new {
    operation = "sync",
    outcome = "started",
    tenant = tenant,
    status = 204,
    delivered = "yes",
    request_id = "5c0e",
    elapsed = 0.25,
  }
end

return state_file
