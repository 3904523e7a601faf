-- client_sync.lua BASE_URL TOKEN_FILE COUNT [CA_FILE]: so many calls of client:sync(). Prints the
-- microseconds that each but the first took.
local base_url, token_file, count, ca_file = arg[1], arg[2], tonumber(arg[3]), arg[4]
local file = assert(io.open(token_file))
local token = file:read "*l"
file:close()
local client = require("autopilot").client {
  token = token,
  base_url = base_url,
  cooldown = 0, -- else the second call would be answered without asking the service
  http = { ca_file = ca_file },
}
local clock = require("autopilot.core").clock
assert(client:sync())
local began = clock()
for _ = 2, count do
  assert(client:sync())
end
if count > 1 then
  print(("%.3f"):format((clock() - began) / (count - 1) * 1e6))
end
