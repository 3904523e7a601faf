--- `autopilot-sync emulate`: a service to try things with. What it does is in `cli/emulate`.

local values = require "autopilot.cli.values"

---@type autopilot.cli.Command
local emulate = {
  name = "emulate",
  example = "emulate --cooldown 30 >environment.sh &",
  summary = "Run an emulated service on this machine.",
  description = "Runs a service on loopback that behaves as Microsoft Graph does, over TLS, with "
    .. "an account of its own, and prints how to reach it as lines for a shell. It ends on a "
    .. "signal, and leaves nothing behind. Needs nginx with its Lua module, and openssl.",
}

function emulate.declare(parser)
  local option = values.declarer(parser)
  option("--port", "PORT", "Port to listen on. Default: a free one.", values.count, 65535)
  local cooldown = "Time that must pass between two syncs. Default: 600."
  option("--cooldown", "SECONDS", cooldown, values.seconds_or_none)
  local duration = "How long a sync takes to complete. Default: 0.5."
  option("--duration", "SECONDS", duration, values.seconds_or_none)
  local versions = "Newest version of HTTP to speak: 1.1 or 2 (default)."
  option("--http-version", "VERSION", versions, values.one_of, { "1.1", "2" })
end

function emulate.run(options, context)
  local output = context.output
  local service = context.emulate or require "autopilot.cli.emulate"
  local ended, message = service.run {
    port = options.port,
    cooldown = options.cooldown,
    duration = options.duration,
    http_version = options.http_version,
    json = options.json,
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
