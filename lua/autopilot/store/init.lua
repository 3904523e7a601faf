--- Stores: what clients and workers share. Each is a file of its own in `store/`, loaded when it is
-- first used; what a store is, is told in `store/arguments`.

---@class autopilot.store
---@field memory fun(given: autopilot.store.MemoryOptions?): autopilot.store.Memory
---@field shared_dict fun(dict: string|table): autopilot.store.SharedDict

local parts = { memory = true, shared_dict = true }

return setmetatable({}, {
  __index = function(self, name)
    if parts[name] then
      self[name] = require("autopilot.store." .. name)
    end
    return rawget(self, name)
  end,
})
