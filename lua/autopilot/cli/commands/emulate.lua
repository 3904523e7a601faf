--- `autopilot-sync emulate`: a service to try things with. What it does is in `cli/emulate`.

local faults = require "autopilot.emulator.faults"
local options = require "autopilot.cli.options"

---@type autopilot.cli.Command
local emulate = {
  name = "emulate",
  example = "emulate --cooldown 30 >environment.sh &",
  summary = "Run an emulated service on this machine.",
  description = "Runs a service on loopback that behaves as Microsoft Graph does, over TLS, with "
    .. "an account of its own, and prints how to reach it as lines for a shell. It ends on a "
    .. "signal, and leaves nothing behind. Needs nginx with its Lua module, and openssl. The "
    .. "account can always sign in with its secret; options add other ways.",
}

local fault_kinds = {}
for index, kind in ipairs(faults.list) do
  fault_kinds[index] = kind.name
end

--- Reads a fault: its kind, then `NAME=VALUE` fields, separated by commas.
local function fault_of(text)
  local kind, mistake = options.one_of("--fault", fault_kinds)(text:match "^[^,]*")
  if not kind then
    return nil, mistake
  end
  local fault = { kind = kind }
  for field in text:gmatch ",([^,]*)" do
    local name, value = field:match "^([%l_]+)=(.*)$"
    if not name then
      return nil, ("option '--fault': '%s' must be NAME=VALUE"):format(field:sub(1, 80))
    end
    if value == "true" or value == "false" then
      fault[name] = value == "true"
    else
      fault[name] = tonumber(value) or value
    end
  end
  local complaint = faults.complaint(fault)
  return not complaint and fault or nil, complaint and "option '--fault' " .. complaint
end

function emulate.declare(parser)
  local option = options.declarer(parser)
  option("--port", "PORT", "Port to listen on. Default: a free one.", options.count, 65535)
  local cooldown = "Time that must pass between two syncs. Default: 600."
  option("--cooldown", "SECONDS", cooldown, options.seconds_or_zero)
  local duration = "How long a sync takes to complete. Default: 0.5."
  option("--duration", "SECONDS", duration, options.seconds_or_zero)
  local versions = "Newest version of HTTP to speak: 1.1 or 2 (default)."
  option("--http-version", "VERSION", versions, options.one_of, { "1.1", "2" })
  local certificate = "The account may sign in with this certificate (PEM). Repeatable."
  parser:option("--certificate", certificate):argname("FILE"):count "*"
  local federated = "The account may sign in with tokens of this platform (workload identity). "
    .. "Repeatable."
  parser:option("--federated", federated):argname({ "ISSUER", "SUBJECT" }):args(2):count "*"
  parser:flag("--public", "People may sign in to the account with a code (device code).")
  local identity = "The account is this machine's managed identity: imds or app_service."
  option("--identity", "PLATFORM", identity, options.one_of, { "imds", "app_service" })
  local fault = "A request meets this fault, such as throttle,on=sync,retry_after=3. Repeatable: "
    .. "each meets one request, in order. Kinds: "
    .. table.concat(fault_kinds, ", ")
    .. "."
  parser:option("--fault", fault):argname("KIND[,NAME=VALUE]"):count("*"):convert(fault_of)
end

function emulate.run(given, context)
  local output = context.output
  local service = context.emulate or require "autopilot.cli.emulate"
  local federated = {}
  for index, pair in ipairs(given.federated) do
    federated[index] = { issuer = pair[1], subject = pair[2] }
  end
  local ended, message = service.run {
    port = given.port,
    cooldown = given.cooldown,
    duration = given.duration,
    http_version = given.http_version,
    certificates = given.certificate,
    federated = federated,
    public = given.public,
    identity = given.identity,
    faults = given.fault,
    json = given.json,
    print = function(line)
      output:line(line)
    end,
  }
  if ended then
    return 0
  end
  output:complain(message)
  return 1
end

return emulate
