--- The settings of the portal: from the environment, and from the list of tenants.
--
-- Read by the master process, so that a mistake is found at start or reload. No secret is read here: the
-- workers read how to sign in when a token is needed.

local settings = {}

local function number(name, default)
  local text = os.getenv(name)
  if not text or text == "" then
    return default
  end
  local value = tonumber(text)
  if not value or value < 0 then
    error(("%s must be a number of seconds, at least 0"):format(name), 0)
  end
  return value
end

local function text(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

--- The list of tenants. Tenants, and with them the labels of metrics, come from here only, never from a
-- request.
local function read_tenants(path)
  local file, message = io.open(path)
  if not file then
    error("the list of tenants cannot be read: " .. message, 0)
  end
  local list, known = {}, {}
  for line in file:lines() do
    local tenant = line:match "^%s*([^#%s]%S*)%s*$"
    if tenant and not known[tenant] then
      known[tenant] = true
      list[#list + 1] = tenant
    end
  end
  file:close()
  return list, known
end

settings.base_url = text "AUTOPILOT_BASE_URL"
settings.ca_file = text "AUTOPILOT_CA_FILE"
settings.secret_file = text "PORTAL_CLIENT_SECRET_FILE"
-- `redis[s]://…`: hosts that share it act as one portal. Other addresses of a store would block the worker.
settings.store = text "PORTAL_STORE"
if settings.store and not settings.store:find "^rediss?://" then
  error("PORTAL_STORE must be redis[s]://[user[:password]@]host[:port][/database]", 0)
end
settings.max_age = number("PORTAL_MAX_AGE", 3600)
settings.keep_fresh_every = number("PORTAL_KEEP_FRESH_EVERY", 60)

---@type string[], table<string, true>
settings.tenants, settings.is_tenant =
  read_tenants(text "PORTAL_TENANTS_FILE" or ngx.config.prefix() .. "/tenants.txt")

return settings
