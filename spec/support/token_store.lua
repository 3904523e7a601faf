--- A token store for specs, on a clock that only sleeping moves, and the workers that use it.

local cached = require "autopilot.token.cached"
local overlay = require "support.overlay"
local stores = require "autopilot.store"

local token_store = {}

token_store.encryption_key = ("k"):rep(32)

---@class support.TokenStore
---@field time number
---@field store autopilot.Store
---@field now fun(): number
local World = {}
World.__index = World

---@return support.TokenStore
function token_store.new()
  local world = setmetatable({ time = 1700000000.5 }, World)
  function world.now()
    return world.time
  end
  world.store = stores.memory { now = world.now }
  return world
end

--- What a provider is called with; `given` replaces fields of it.
function World:asking(given)
  local ask =
    { tenant = "contoso", cloud = "global", scope = "graph", refresh = false, now = self.now }
  function ask.sleep(seconds)
    self.time = self.time + seconds
  end
  return overlay(ask, given)
end

--- A worker: its own cache before the store.
function World:worker(provider, given)
  local key = token_store.encryption_key
  return cached(
    provider,
    overlay({ store = self.store, identity = "app", encryption_key = key }, given)
  )
end

--- Puts a store before the present one, which calls it but for the functions in `instead`.
function World:replace(instead)
  local inner, store = self.store, {}
  for _, method in ipairs { "add", "get", "set", "delete_if" } do
    store[method] = function(_, ...)
      return inner[method](inner, ...)
    end
  end
  self.store = overlay(store, instead)
end

--- Counts what a provider is asked; it gives `token-1`, `token-2`, …
function token_store.source(expires_in, extra)
  local fetched = { count = 0 }
  function fetched.provider()
    fetched.count = fetched.count + 1
    if fetched.fails then
      return nil, "no token today"
    end
    return "token-" .. fetched.count, expires_in or 3600, extra
  end
  return fetched
end

return token_store
