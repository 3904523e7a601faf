-- one_call.lua BASE_URL TOKEN_FILE: a whole script as a user would write it, with one call.
local file = assert(io.open(arg[2]))
local token = file:read "*l"
file:close()
local client = require("autopilot").client { token = token, base_url = arg[1] }
print(assert(client:sync()))
