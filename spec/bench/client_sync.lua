-- client_sync.lua BASE_URL TOKEN_FILE COUNT [CA_FILE]: that many calls of client:sync().
local base_url, token_file, count, ca_file = arg[1], arg[2], tonumber(arg[3]), arg[4]
local file = assert(io.open(token_file))
local token = file:read "*l"
file:close()
local client = require("autopilot").client {
  token = token,
  base_url = base_url,
  cooldown = 0,
  http = { ca_file = ca_file },
}
for _ = 1, count do
  assert(client:sync())
end
