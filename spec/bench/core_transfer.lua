-- core_transfer.lua BASE_URL TOKEN_FILE COUNT [CA_FILE]: the calls through autopilot.core alone,
-- without anything that the library's Lua does.
local core = require "autopilot.core"
local base_url, token_file, count, ca_file = arg[1], arg[2], tonumber(arg[3]), arg[4]
local file = assert(io.open(token_file))
local token = file:read "*l"
file:close()
local request = core.request {
  method = "POST",
  url = base_url .. "/beta/deviceManagement/windowsAutopilotSettings/sync",
  headers = { Accept = "application/json" },
  user_agent = "autopilot-sync/" .. require "autopilot.version",
  proxy = "",
  ca_file = ca_file,
}
local set = core.transfer_set()
for _ = 1, count do
  local transfer =
    set:add(request, { connect = 10, total = 60, token = token, client_request_id = core.uuid() })
  repeat
    set:step(0.5)
  until transfer:is_finished()
  set:discard(transfer)
  assert(transfer:result().status == 204)
end
