--- `autopilot-sync emulate`: a service to try things with. It is made in `cli/emulate`.

local options = require "autopilot.cli.options"

---@type autopilot.cli.Command
local emulate = {
  name = "emulate",
  example = "emulate --cooldown 30s >environment.sh &",
  summary = "Run an emulated service on this machine.",
  description = "Runs a service on loopback that behaves as Microsoft Graph does, over TLS, with "
    .. "an account of its own, and prints how to reach it as lines for a shell. It ends on a "
    .. "signal, and leaves nothing behind. Needs nginx with its Lua module, and openssl. The "
    .. "account can always sign in with its secret; options add other ways.",
  options = [[
--port PORT: Port to listen on. Default: a free one.
--cooldown DURATION: Time that must pass between two syncs. Default: 10m.
--duration DURATION: How long a sync takes to complete. Default: 0.5s.
--http-version VERSION: Newest version of HTTP to speak: 1.1 or 2 (default).
--public: People may sign in to the account with a code (device code).
--identity PLATFORM: The account is this machine's managed identity (imds or app_service), or that
  of a job (github or pipelines).
]],
}

-- The kinds of `autopilot.emulator.faults`, in the order of the help. Named here too, because the emulator is
-- loaded only where a fault is given, and this file at every start of the command.
local fault_kinds = "unsent lost_request lost_answer duplicated slow_answer status throttle "
  .. "claims_challenge stale_read slow_sync failed_sync"

local kind_of = options.one_of(fault_kinds) "--fault"

--- Reads a fault: its kind, then `NAME=VALUE` fields, separated by commas. A comma without `NAME=` behind it is a part
-- of the value before it, which may be JSON.
local function fault_of(text)
  local kind, mistake = kind_of(text:match "^[^,]*")
  if not kind then
    return nil, mistake
  end
  local fault, latest = { kind = kind }, nil
  for field in text:gmatch ",([^,]*)" do
    local name, value = field:match "^([%l_]+)=(.*)$"
    latest = name or latest
    if not latest then
      return nil, ("option '--fault': '%s' must be NAME=VALUE"):format(field:sub(1, 80))
    end
    fault[latest] = name and value or fault[latest] .. "," .. field
  end
  for name, value in pairs(fault) do
    if name ~= "body" then
      fault[name] = value == "true" or value ~= "false" and (tonumber(value) or value)
    end
  end
  local check = require("autopilot.emulator.faults").check
  local is_right, checked = pcall(check, "option '--fault'", fault, 1)
  if is_right then
    return checked
  end
  return nil, checked
end

function emulate.declare(parser)
  local function repeatable(name, argname, description)
    return parser:option(name, description):argname(argname):count "*"
  end
  local fault = "A request meets this fault, such as throttle,on=sync,retry_after=3. Each "
    .. "meets one request, in order. Kinds: "
    .. fault_kinds:gsub(" ", ", ")
    .. ". The request is named by on: sync, status, token, device_code, identity, discovery or "
    .. "other; without it, any meets the fault. The fields of each kind are in doc/testing.md."
  parser:group(
    "Options that may be repeated",
    repeatable("--certificate", "FILE", "The account may sign in with this certificate (PEM)."),
    repeatable(
      "--federated",
      { "ISSUER", "SUBJECT" },
      "The account may sign in with tokens of this platform (workload identity)."
    ):args(2),
    repeatable("--fault", "KIND[,NAME=VALUE]", fault):convert(fault_of)
  )
end

function emulate.run(given, context)
  local service = context.emulate or require "autopilot.cli.emulate"
  local ended, message = service.run(given, function(line)
    context.output:line(line)
    return context.output.lost ~= nil
  end)
  if not ended then
    context.output:complain(message)
  end
  return ended and 0 or 1
end

return emulate
