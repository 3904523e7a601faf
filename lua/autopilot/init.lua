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

-- Each part's module.
local parts = {
  client = "autopilot.client",
  fleet = "autopilot.fleet",
  retry = "autopilot.retry",
  store = "autopilot.store",
  token = "autopilot.token",
  emulator = "autopilot.emulator",
  transport = "autopilot.transport",
  _VERSION = "autopilot.version",
}

--- Reads an HTTP-date: see `autopilot.base.dates`.
function autopilot.http_date(text, now)
  return require("autopilot.base.dates").read_http_date(text, now)
end

return setmetatable(autopilot, {
  __index = function(self, name)
    if parts[name] then
      self[name] = require(parts[name])
    end
    return rawget(self, name)
  end,
})
