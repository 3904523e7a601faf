--- The settings of the portal: from the environment, and from the list of tenants.
--
-- Read by the master process, so that a mistake is found at start or reload. Only PORTAL_STORE may contain a
-- password here: the workers read how to sign in when a token is needed.

local autopilot = require "autopilot.openresty"

local settings = {}

local function number(name, default)
  local text = os.getenv(name)
  if not text or text == "" then
    return default
  end
  local value = tonumber(text)
  if not value or not (value >= 0 and value < math.huge) then
    error(("%s must be a number, at least 0"):format(name), 0)
  end
  return value
end

local function text(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

--- A set of the words of a text.
local function words(list)
  local set = {}
  for word in list:gmatch "[^%s,]+" do
    set[word:lower()] = true
  end
  return set
end

--- Whole requests, of which there is one at least.
local function concurrency()
  local value = number("PORTAL_CONCURRENCY", 16)
  if value < 1 or value > 1000 or value % 1 ~= 0 then
    error("PORTAL_CONCURRENCY must be a whole number from 1 to 1000", 0)
  end
  return value
end

--- The list of tenants. Tenants, and with them the labels of metrics, come from here only, never from a
-- request.
local function read_tenants(path)
  local file, message = io.open(path)
  if not file then
    error("the list of tenants cannot be read: " .. message, 0)
  end
  local list, known, lines = {}, {}, 0
  for line in file:lines() do
    lines = lines + 1
    local found = line:match "^%s*([^#%s].-)%s*$"
    local tenant = found and found:match "^%S+$"
    if found and not tenant then
      error(("line %d of the list of tenants is not a tenant"):format(lines), 0)
    elseif tenant and not known[tenant] then
      known[tenant] = true
      list[#list + 1] = tenant
    end
  end
  file:close()
  return list, known
end

--- The store: what the workers share, and the hosts where an address is given. It connects on first use.
local function open_store(address)
  if not address then
    return autopilot.store.shared_dict(ngx.shared.autopilot_store)
  end
  -- Only Redis: the other databases would block the worker.
  local is_valid, store = pcall(autopilot.store.redis, { url = address })
  if not is_valid then
    error("PORTAL_STORE must be redis[s]://[user[:password]@]host[:port][/database]", 0)
  end
  return store
end

settings.base_url = text "AUTOPILOT_BASE_URL"
settings.ca_file = text "AUTOPILOT_CA_FILE"
settings.secret_file = text "PORTAL_CLIENT_SECRET_FILE"
settings.store = open_store(text "PORTAL_STORE")
settings.max_age = number("PORTAL_MAX_AGE", 3600)
settings.keep_fresh_every = number("PORTAL_KEEP_FRESH_EVERY", 60)
settings.read_again_after = number("PORTAL_READ_AGAIN_AFTER", settings.max_age / 4)
settings.concurrency = concurrency()
settings.is_host = words(text "PORTAL_HOSTS" or "localhost")

---@type string[], table<string, true>
settings.tenants, settings.is_tenant =
  read_tenants(text "PORTAL_TENANTS_FILE" or ngx.config.prefix() .. "/tenants.txt")

-- Another list has another name, so that the dashboard notices a reload.
settings.list_name = ("%08x"):format(ngx.crc32_long(table.concat(settings.tenants, "\n")))

return settings
