--- Whether nginx's shared dictionaries are large enough for the list of tenants.
--
-- nginx reads their sizes from dictionaries.conf, which `prepare` writes from the list.

local dictionaries = {}

-- Bytes for each tenant. `prepare` reads these two lines.
local per_tenant = {
  autopilot_store = 2048,
  autopilot_tenants = 8192,
}

local advice = "run `prepare` for this folder, which writes dictionaries.conf from the list"

-- When each dictionary was last complained of.
local complained_at = {}

--- Logs that a dictionary is full, once a minute at most.
---@param name string
---@param message string?
function dictionaries.complain(name, message)
  if ngx.now() - (complained_at[name] or 0) >= 60 then
    complained_at[name] = ngx.now()
    ngx.log(ngx.WARN, name, " is too small: ", message or "a value was lost", "; ", advice)
  end
end

--- Logs which dictionaries are too small for so many tenants.
---@param count integer
function dictionaries.check(count)
  for name, bytes in pairs(per_tenant) do
    local capacity = ngx.shared[name]:capacity()
    if capacity < bytes * count then
      local needed = math.ceil(bytes * count / 1048576)
      local format = "%s has %d KB, and %d tenants need %dm: %s"
      ngx.log(ngx.WARN, format:format(name, capacity / 1024, count, needed, advice))
    end
  end
end

--- Calls a function with the name, the size and the free bytes of each dictionary. nginx counts whole pages.
---@param visit fun(name: string, capacity: integer, free: integer)
function dictionaries.each(visit)
  for _, name in ipairs { "autopilot_metrics", "autopilot_store", "autopilot_tenants" } do
    visit(name, ngx.shared[name]:capacity(), ngx.shared[name]:free_space())
  end
end

return dictionaries
