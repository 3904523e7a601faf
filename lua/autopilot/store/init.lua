--- Stores: what clients and workers share. Each is a file of this folder, loaded when it is first used; what
-- a store must do is told in `autopilot.store.contract`.

---@class autopilot.store
---@field memory fun(given: autopilot.store.MemoryOptions?): autopilot.Store
---@field shared_dict fun(dict: string|table): autopilot.Store
---@field sql fun(given: autopilot.store.SqlOptions): autopilot.Store
---@field redis fun(given: autopilot.store.RedisOptions): autopilot.Store

local names = { memory = true, shared_dict = true, sql = true, redis = true }

return setmetatable({}, {
  __index = function(self, name)
    if names[name] then
      self[name] = require("autopilot.store." .. name)
    end
    return rawget(self, name)
  end,
})
