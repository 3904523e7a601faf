--- What each worker does when it starts. It cannot wait there, so it starts timers.

local autopilot = require "autopilot.openresty"
local keep_fresh = require "portal.keep_fresh"
local settings = require "portal.settings"

local worker = {}

function worker.start()
  -- The first request then does not wait for what is done once, such as reading the certificates.
  autopilot.warm { http = { ca_file = settings.ca_file } }
  keep_fresh.start()
end

return worker
