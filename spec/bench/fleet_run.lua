-- A fleet of tenants, each with a token of its own; every report must be `started`. Prints the
-- milliseconds of processor time, and those that all took.
--
--   fleet_run.lua BASE_URL TOKEN_FILE COUNT CONCURRENCY CA_FILE|- VERSION(1|2) [AUTHORITY]
--
-- With AUTHORITY each tenant's token is asked for there, with a client secret.

local autopilot = require "autopilot"
local core = require "autopilot.core"

local base_url, token_file, count, concurrency = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local file = assert(io.open(token_file))
local token = file:read "*l"
file:close()
local beginning = token:sub(1, -9)

local http = { version = arg[6] == "2" and "2" or "1.1", ca_file = arg[5] ~= "-" and arg[5] or nil }
local began = core.clock()
local number = -1

local provider = arg[7]
  and autopilot.token.client_secret {
    client_id = "00000000-0000-4000-8000-000000000001",
    client_secret = "secret",
    authority = arg[7],
  }

local fleet = autopilot.fleet {
  tenants = function()
    number = number + 1
    return number < count and ("tenant-%08d"):format(number) or nil
  end,
  client = function(tenant)
    return {
      token = provider or beginning .. tenant:sub(-8),
      base_url = base_url,
      http = http,
    }
  end,
  concurrency = concurrency,
}
for _, report in fleet:run() do
  if report.outcome ~= "started" then
    error(tostring(report))
  end
end
assert(fleet.summary.total == count)
print(("%.3f\n%.3f"):format(os.clock() * 1e3, (core.clock() - began) * 1e3))
