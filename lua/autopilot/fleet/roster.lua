--- The tenants of a run, read one at a time: from a list, an iterator, or a function that makes one.
--
-- Where starts are spread, it reads ahead and hands out each tenant when its own moment has come; at
-- most so many as are named below, so that an endless list does not sit in memory. Also who a tenant
-- is: its id, and the key that it is remembered by.

local Timers = require "autopilot.fleet.timers"
local protected_call = require "autopilot.base.protected_call"

local read_ahead = 20000

---@class autopilot.fleet.Roster
---@field total integer? tenants, where that is known
---@field failure { message: any }? what the source has raised, which ended it
---@field is_pending boolean the source knew of none when it was last asked, and is to be asked again
local Roster = {}
Roster.__index = Roster

---@alias autopilot.fleet.Tenant string|table an id or domain, or a table with it in `tenant`

local function of_list(list)
  local index = 0
  return function()
    index = index + 1
    local tenant = list[index]
    return tenant == false and "" or tenant -- no tenant, and no promise of one either
  end
end

--- A function that returns the next tenant, or nil. `total` is how many there are, where that is known.
---@param tenants any
---@return function next
---@return integer? total
local function open(tenants)
  local metatable = getmetatable(tenants)
  local is_callable = type(tenants) == "function" or (metatable and metatable.__call ~= nil)
  if not is_callable then
    return of_list(tenants), #tenants
  end
  local read
  return function()
    if read then
      return (read())
    end
    local first = tenants()
    if type(first) == "function" then
      read = first
      return (read())
    elseif type(first) == "table" and first.tenant == nil and first[1] ~= nil then
      read = of_list(first)
      return (read())
    end
    read = tenants
    return first
  end
end

--- Id and key of a tenant, or nil when it is none. The key tells tenants of different clouds apart.
---@param tenant autopilot.fleet.Tenant
---@return string? id
---@return string? key
function Roster.identify(tenant)
  local id, cloud = tenant, nil
  if type(tenant) == "table" then
    id, cloud = tenant.tenant, tenant.cloud
  end
  if type(id) ~= "string" or id == "" then
    return nil
  elseif type(cloud) ~= "string" or cloud == "global" then
    return id, id
  end
  return id, id .. "@" .. cloud
end

local modulus = 2147483647 -- a prime; products stay exact in a double

--- Where in a spread the tenant belongs: always the same, and evenly scattered over all tenants.
---@param key string
---@return number fraction in [0, 1)
function Roster.fraction(key)
  local hash = 5381
  for index = 1, #key do
    hash = (hash * 1103515 + key:byte(index) * 12345 + 1) % modulus
  end
  for _ = 1, 3 do -- the last characters have to move all of it
    hash = (hash * 1103515 + 12345) % modulus
  end
  return hash / modulus
end

---@param tenants any see `autopilot.FleetOptions`
---@param spread number seconds
---@param began number of the clock
---@return autopilot.fleet.Roster
function Roster.new(tenants, spread, began)
  local next_tenant, total = open(tenants)
  return setmetatable({
    next_tenant = next_tenant,
    total = total,
    spread = spread,
    began = began,
    starts = Timers.new(),
    failure = nil,
    is_pending = false,
  }, Roster)
end

local function read(self)
  self.is_pending = false
  if not self.next_tenant then
    return nil
  end
  local is_fine, tenant = protected_call(self.next_tenant)
  if is_fine and tenant == false then
    self.is_pending = true
    return nil
  elseif is_fine and tenant ~= nil then
    return tenant
  end
  self.next_tenant = nil
  self.failure = not is_fine and { message = tenant } or nil
end

--- The next tenant whose moment has come; nil when there is none now.
---@param clock number
---@param is_late boolean? nobody waits for its moment any more
---@return autopilot.fleet.Tenant?
function Roster:take(clock, is_late)
  if self.spread <= 0 then
    return read(self)
  end
  local starts = self.starts
  while starts.count < read_ahead do
    local tenant = read(self)
    if tenant == nil then
      break
    end
    local _, key = Roster.identify(tenant)
    starts:add(self.began + self.spread * Roster.fraction(key or ""), tenant)
  end
  local first = starts:first()
  if first and (is_late or first <= clock) then
    return (starts:take())
  end
end

--- When the next tenant starts that was read already.
---@return number?
function Roster:next_start()
  return self.starts:first()
end

--- How many were read and wait for their moment.
---@return integer
function Roster:waiting()
  return self.starts.count
end

--- Reads no more. Those that were read are still handed out.
function Roster:close()
  self.next_tenant, self.is_pending = nil, false
end

---@return boolean
function Roster:has_ended()
  return not self.next_tenant and self.starts.count == 0
end

return Roster
