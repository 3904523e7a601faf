--- The store of the portal: what its workers share, and its hosts where PORTAL_STORE names a Redis.

local autopilot = require "autopilot.openresty"
local settings = require "portal.settings"

return settings.store and autopilot.store.redis { url = settings.store }
  or autopilot.store.shared_dict(ngx.shared.autopilot_store)
