--- Tokens by whom and what they are for: tenant, cloud and scope. Nothing secret is in a key.
--
-- One cache belongs to one provider, and so to one client id. It holds a bounded number of entries:
-- what was not used for longest goes first. How long a token is good is left to `cached`.

local recency = require "autopilot.base.lru"

---@class autopilot.token.Entry
---@field key string of all its parts
---@field token string? nil when there is none to be had from here
---@field obtained_at number? Unix seconds at which the token came
---@field expires_at number? Unix seconds; nil when nobody knows
---@field usable_until number? Unix seconds; from then on it is not handed out
---@field fresh_until number Unix seconds; from then on another is asked for
---@field claims string? the claims request that it was fetched with
---@field blocked_until number? Unix seconds before which asking again is pointless
---@field failure { message: string?, details: table? }? why

---@class autopilot.token.Cache
---@field count integer
---@field ring autopilot.Recency of its entries
local Cache = {}
Cache.__index = Cache

local never = -math.huge

---@param max_entries integer
---@return autopilot.token.Cache
function Cache.new(max_entries)
  local cache = { max_entries = max_entries, count = 0, spaces = {}, ring = recency.new() }
  return setmetatable(cache, Cache)
end

--- The entry, which now is the one used last; nil when there is none.
---@return autopilot.token.Entry?
function Cache:find(tenant, cloud, scope)
  -- Tables in tables, and no key that is joined: this runs for every request.
  local clouds = self.spaces[scope or false]
  local space = clouds and clouds[cloud or false]
  local entry = space and space.entries[tenant or false]
  if entry and self.ring.older ~= entry then
    recency.touch(self.ring, entry)
  end
  return entry
end

--- Takes an entry out, and the tables that held nothing else.
local function drop(self, entry)
  recency.remove(entry)
  -- Whoever still holds it must not go on with what is not kept.
  entry.token, entry.fresh_until = nil, never
  self.count = self.count - 1
  local space = entry.space
  space.entries[entry.tenant] = nil
  space.count = space.count - 1
  if space.count == 0 then
    local clouds = self.spaces[space.scope]
    clouds[space.cloud] = nil
    if next(clouds) == nil then
      self.spaces[space.scope] = nil
    end
  end
end

local function space_of(self, cloud, scope)
  local clouds = self.spaces[scope] or {}
  self.spaces[scope] = clouds
  local space = clouds[cloud] or { cloud = cloud, scope = scope, entries = {}, count = 0 }
  clouds[cloud] = space
  return space
end

local function part(text)
  text = text and tostring(text) or ""
  return #text .. ":" .. text -- so that no two keys can run into each other
end

--- The entry, a new one without a token where there was none.
---@return autopilot.token.Entry
function Cache:open(tenant, cloud, scope)
  local entry = self:find(tenant, cloud, scope)
  if entry then
    return entry
  elseif self.count >= self.max_entries then
    drop(self, self.ring.newer)
  end
  local space = space_of(self, cloud or false, scope or false)
  entry = {
    space = space,
    tenant = tenant or false,
    key = part(tenant) .. part(cloud) .. part(scope),
    fresh_until = never,
  }
  space.entries[entry.tenant] = entry
  space.count, self.count = space.count + 1, self.count + 1
  recency.add(self.ring, entry)
  return entry
end

return Cache
