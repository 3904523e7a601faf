--- Stores: shared data of clients and workers. Each is a file of this folder, loaded when it is first used; what
-- a store must do is described in `autopilot.store.contract`.

local core = require "autopilot.core"

---@class autopilot.store
---@field memory fun(given: autopilot.store.MemoryOptions?): autopilot.Store
---@field shared_dict fun(dict: string|table): autopilot.Store
---@field sql fun(given: autopilot.store.SqlOptions): autopilot.Store
---@field redis fun(given: autopilot.store.RedisOptions): autopilot.Store
---@field open fun(text: string): autopilot.Store

local names = { memory = true, shared_dict = true, sql = true, redis = true }

-- Words that are often given instead of an address, and what to write. They name a file only if it exists.
local addresses = {
  redis = "redis://HOST:6379",
  rediss = "rediss://HOST:6380",
  postgres = "postgresql://HOST/DATABASE",
  postgresql = "postgresql://HOST/DATABASE",
  sqlite = "the name of a file",
}

local store = {}

--- Makes a store from a text, as the command's `--store` accepts it. Nothing is opened before it is first used.
-- Raises at the caller for an address that it does not know.
---@param text string `redis[s]://…`, `postgresql://…`, or the name of an SQLite file
---@return autopilot.Store
function store.open(text)
  if type(text) ~= "string" then
    error(("autopilot.store.open: needs a string (got %s)"):format(type(text)), 2)
  end
  local scheme = text:match "^(%a[%w+.-]*)://"
  if scheme == "redis" or scheme == "rediss" then
    return store.redis { url = text }
  elseif scheme == "postgresql" or scheme == "postgres" then
    return store.sql { driver = "PostgreSQL", database = text }
  end
  local address = addresses[text:lower()] or text:match "^[%w.-]+:%d+$" and "redis://" .. text
  if scheme or (address and not core.file_kind(text)) then
    local instead = address and ": write " .. address or ""
    local known = "autopilot.store.open: must be a file, redis[s]://… or postgresql://…"
    error(known .. instead, 2)
  end
  return store.sql { driver = "SQLite3", database = text }
end

return setmetatable(store, {
  __index = function(self, name)
    if names[name] then
      self[name] = require("autopilot.store." .. name)
    end
    return rawget(self, name)
  end,
})
