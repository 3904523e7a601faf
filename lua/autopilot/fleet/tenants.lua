--- The tenants of a run, read one at a time: from a list, an iterator, or a function that makes one.
--
-- If starts are spread, each tenant is returned when its time has come: up to `most_ahead` tenants are
-- read ahead, so that an endless list does not fill the memory.

local Timers = require "autopilot.fleet.timers"
local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"

local most_ahead = 20000

---@alias autopilot.fleet.Tenant string|table an id or domain, or a table with it in `tenant`

---@class autopilot.fleet.Tenants
---@field total integer? number of tenants, where it is known
---@field failure { message: any }? what the source has raised, which ended it
---@field is_pending boolean the source had no tenant when it was last asked, and is to be asked again
---@field starts autopilot.fleet.Timers those that were read and wait for their time: `{ tenant = }`
local Tenants = {}
Tenants.__index = Tenants

local function reader_of(list)
  local index = 0
  return function()
    index = index + 1
    local tenant = list[index]
    return tenant == false and "" or tenant -- in a list, false is a wrong tenant, not "ask again"
  end
end

--- Id and key of a tenant, or nil when it has none. The key differs for the same id in different clouds.
function Tenants.identify(tenant)
  local id, cloud = tenant, nil
  if type(tenant) == "table" then
    id, cloud = tenant.tenant, tenant.cloud
  end
  if type(id) ~= "string" or id == "" then
    return nil
  end
  local has_cloud = type(cloud) == "string" and cloud ~= "global"
  return id, has_cloud and id .. "@" .. cloud or id
end

local modulus = 2147483647 -- a prime; products stay exact in a double

--- A number from 0 to 1 for each tenant: always the same one, and all tenants evenly distributed.
function Tenants.fraction_of(key)
  local hash = 5381
  for index = 1, #key do
    hash = (hash * 1103515 + key:byte(index) * 12345 + 1) % modulus
  end
  for _ = 1, 3 do -- so that the last characters count as much as the first
    hash = (hash * 1103515 + 12345) % modulus
  end
  return hash / modulus
end

---@param source any see the option `tenants`
---@param spread number seconds, from now on
---@param clock fun(): number
function Tenants.new(source, spread, clock)
  local is_function = options.is_callable(source)
  return setmetatable({
    read = is_function and source or reader_of(source),
    may_open = is_function, -- its first result may be another such function, or a list
    total = not is_function and #source or nil,
    spread = spread,
    clock = clock,
    began = clock(),
    starts = Timers.new(),
    is_pending = false,
  }, Tenants)
end

--- The source's next tenant; nil when it has none now.
local function read_next(self)
  self.is_pending = false
  if not self.read then
    return nil
  end
  local is_fine, tenant = protected_call(self.read)
  if self.may_open then
    self.may_open = false
    local is_list = type(tenant) == "table" and tenant.tenant == nil and tenant[1] ~= nil
    if is_fine and (is_list or type(tenant) == "function") then
      self.read = is_list and reader_of(tenant) or tenant
      return read_next(self)
    end
  end
  if is_fine and tenant then
    return tenant
  end
  self.failure = not is_fine and { message = tenant } or nil
  self.is_pending = is_fine and tenant == false
  self.read = self.is_pending and self.read or nil
end

--- The next tenant of the list; with `spread`, the next one whose start time has come, or with `is_late` any one. Nil
-- when no tenant is ready now.
function Tenants:take(is_late)
  if self.spread <= 0 then
    return read_next(self)
  end
  local starts = self.starts
  while starts.count < most_ahead do
    local tenant = read_next(self)
    if tenant == nil then
      break
    end
    local _, key = Tenants.identify(tenant)
    starts:set({ tenant = tenant }, self.began + self.spread * Tenants.fraction_of(key or ""))
  end
  local first = starts[1]
  if first and (is_late or first.due_at <= self.clock()) then
    starts:remove(first)
    return first.tenant
  end
end

--- The time before which the next tenant must not be begun; nil if no tenant waits for a time.
function Tenants:next_start()
  local first = self.starts[1]
  return first and first.due_at > self.clock() and first.due_at or nil
end

--- Reads no more. Tenants that were read are still returned.
function Tenants:close()
  self.read, self.is_pending = nil, false
end

function Tenants:has_ended()
  return not self.read and self.starts.count == 0
end

return Tenants
