--- A stand-in for one `ngx.shared` dictionary: its methods, as lua-nginx-module documents them.
--
-- Milliseconds, 0 for "for ever", values of any plain type; full after so many keys, when it takes out
-- what was not used for longest.

local FakeDict = {}
FakeDict.__index = FakeDict

---@param given { now: (fun(): number), max_entries: integer?, fails: string? }
local function new(given)
  return setmetatable({
    now = given.now,
    max_entries = given.max_entries or math.huge,
    fails = given.fails,
    items = {},
    order = {}, -- keys, the one used last at the end
  }, FakeDict)
end

local function touch(self, key, is_gone)
  for index, other in ipairs(self.order) do
    if other == key then
      table.remove(self.order, index)
      break
    end
  end
  if is_gone then
    self.items[key] = nil
  else
    self.order[#self.order + 1] = key
  end
end

local function find(self, key)
  local item = self.items[key]
  if item and item.expires and item.expires <= self.now() then
    touch(self, key, true)
    return nil
  end
  return item
end

function FakeDict:set(key, value, exptime)
  if self.fails then
    return false, self.fails, false
  end
  local milliseconds = math.floor((exptime or 0) * 1000)
  self.items[key] =
    { value = value, expires = milliseconds > 0 and self.now() + milliseconds / 1000 or nil }
  touch(self, key)
  local is_full = #self.order > self.max_entries
  if is_full then
    touch(self, self.order[1], true)
  end
  return true, nil, is_full
end

function FakeDict:add(key, value, exptime)
  if find(self, key) then
    return false, "exists", false
  end
  return self:set(key, value, exptime)
end

function FakeDict:get(key)
  if self.fails then
    return nil, self.fails
  end
  local item = find(self, key)
  if item then
    touch(self, key)
    return item.value
  end
end

function FakeDict:ttl(key)
  local item = find(self, key)
  if not item then
    return nil, "not found"
  end
  return item.expires and item.expires - self.now() or 0
end

function FakeDict:delete(key)
  touch(self, key, true)
end

return new
