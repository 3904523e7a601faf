--- autopilot-sync: ask Microsoft Graph for one Windows Autopilot device sync, and know how it went.
--
-- The facade. Each part is loaded when it is first used, so that a script pays for what it does.

---@class autopilot
--- Makes a client of one tenant. Nothing is sent yet.
---@field client fun(options: autopilot.ClientOptions): autopilot.Client
--- Runs an operation for many tenants. Nil and a message where the state cannot be used.
---@field fleet fun(options: autopilot.FleetOptions): autopilot.Fleet?, string?
---@field retry autopilot.retry policies, budgets and a loop, usable alone
---@field store autopilot.store what clients and workers share
---@field token autopilot.token ways to sign in
---@field transport autopilot.transport the HTTP layers
---@field emulator { new: fun(options: autopilot.EmulatorOptions?): autopilot.Emulator } for tests
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
---@param text string
---@param now number? Unix seconds, for two-digit years
---@return number? seconds Unix time; nil when the text is not such a date
function autopilot.http_date(text, now)
  return require("autopilot.base.dates").read_http_date(text, now)
end

---@type autopilot
local facade = setmetatable(autopilot, {
  __index = function(self, name)
    if parts[name] then
      self[name] = require(parts[name])
    end
    return rawget(self, name)
  end,
})

return facade
