--- Makes ready, in the background, what the first call of a worker would wait for: its driver, and the
-- certificates that are trusted, which libcurl reads once and keeps.
--
-- libcurl reads them when it has said hello to a server, and needs no answer for that. So one request goes to
-- a port of this machine where nobody answers, and is given up.

local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local ngx = require "ngx"
local worker = require "autopilot.openresty.worker"

local seconds = 0.2 -- more than connecting to oneself and reading a bundle takes

local function read_certificates(driver, http)
  local listener, port = core.silent_listener()
  if listener then
    local prepared = curl.prepare(
      { ca_file = http.ca_file, ca_path = http.ca_path, proxy = "" },
      { method = "GET", url = ("https://127.0.0.1:%d/"):format(port) }
    )
    driver:run(prepared, seconds, seconds)
    listener:close()
  end
end

---@param http table as in the client's options
---@return boolean? started
---@return string? problem
return function(http)
  return ngx.timer.at(0, function(is_premature)
    if not is_premature then
      read_certificates(worker.driver(), http)
    end
  end)
end
