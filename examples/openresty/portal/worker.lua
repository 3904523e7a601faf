--- What is done when nginx starts: in the master, then in each worker.

local autopilot = require "autopilot.openresty"
local clients = require "portal.clients"
local dictionaries = require "portal.dictionaries"
local keep_fresh = require "portal.keep_fresh"
local settings = require "portal.settings"

local worker = {}

--- In the master, at start and at each reload. What is missing or wrong is found here: nginx does not start, or
-- keeps its old workers. `nginx -t` does not get here; with PORTAL_CHECK nginx ends here instead of starting.
function worker.load()
  for _, name in ipairs { "dashboard", "guard", "metrics_page", "ready", "sync" } do
    require("portal." .. name)
  end
  dictionaries.check(#settings.tenants)
  if settings.tenants[1] then
    autopilot.client(clients.options_of(settings.tenants[1])) -- raises what is wrong with its options
  end
  if os.getenv "PORTAL_CHECK" then
    local complaint = clients.sign_in_complaint()
    if complaint then
      error("the portal cannot sign in: " .. complaint, 0)
    end
    io.stderr:write(("the portal can start; it has %d tenants\n"):format(#settings.tenants))
    os.exit(0)
  end
end

--- In a worker. It cannot wait here, so it starts timers.
function worker.start()
  keep_fresh.start()
end

return worker
