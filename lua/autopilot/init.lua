--- autopilot-sync: ask Microsoft Graph for one Windows Autopilot device sync, and know how it went.
--
-- The facade. Each part is loaded when it is first used, so that a script pays for what it does.

---@class autopilot
---@field client fun(options: autopilot.ClientOptions): autopilot.Client
---@field fleet fun(options: autopilot.FleetOptions): autopilot.Fleet
---@field retry table
---@field store autopilot.store
---@field token autopilot.token
---@field transport table
---@field emulator table
---@field http_date fun(text: string): number?
---@field _VERSION string

local autopilot = {}

local parts = {
  client = function()
    return require "autopilot.client"
  end,
  fleet = function()
    return require "autopilot.fleet"
  end,
  retry = function()
    return require "autopilot.retry"
  end,
  store = function()
    return require "autopilot.store"
  end,
  token = function()
    return require "autopilot.token"
  end,
  emulator = function()
    return require "autopilot.emulator"
  end,
  transport = function()
    return {
      scripted = require "autopilot.transport.scripted",
      curl = require "autopilot.transport.curl",
    }
  end,
  http_date = function()
    return require("autopilot.base.http_date").read
  end,
  _VERSION = function()
    return require "autopilot.version"
  end,
}

return setmetatable(autopilot, {
  __index = function(self, name)
    local load = parts[name]
    if load then
      self[name] = load()
    end
    return rawget(self, name)
  end,
})
