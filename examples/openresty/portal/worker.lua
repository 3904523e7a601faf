--- What each worker does when it starts: nothing itself, as it cannot wait there, but by timers.

local autopilot = require "autopilot.openresty"
local keep_fresh = require "portal.keep_fresh"
local settings = require "portal.settings"

local worker = {}

function worker.start()
  -- The first request need not wait for what is made once, like reading the certificates.
  autopilot.warm { http = { ca_file = settings.ca_file } }
  keep_fresh.start()
end

return worker
