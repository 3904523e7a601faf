--- `autopilot-sync token`: signs in, and shows what the token says of itself.

local authorization = require "autopilot.graph.bearer"
local core = require "autopilot.core"
local outcome = require "autopilot.sync.outcome"
local report = require "autopilot.sync.report"
local service_options = require "autopilot.cli.service_options"
local token_facts = require "autopilot.cli.token_facts"

---@type autopilot.cli.Command
local token = {
  name = "token",
  example = "token --auth managed",
  summary = "Sign in, and show what the token permits.",
  description = "Signs in as the other commands do, and shows audience, tenant, application, "
    .. "permissions and expiry of the token. Sends nothing to the service.",
}

function token.declare(parser)
  service_options.declare(parser)
  parser:flag("--inspect", "Show what the token says of itself; this is the default.")
  parser:flag("--print", "Print the token itself, which is a secret.")
end

--- Tells why there is no token, as every command does.
local function tell_failure(client, failure, options, context)
  local answer = authorization.answer(client, failure)
  answer.operation = "token"
  local sealed = report.seal(answer)
  context.output:report(sealed, options)
  return outcome.exit_code(sealed)
end

local function show(text, options, context)
  local output = context.output
  local wants_facts = options.inspect or not options.print
  if options.json or wants_facts then
    local facts = token_facts.of(text, (context.now or core.now)())
    facts.token = options.print and text or nil
    output:report(facts, options, token_facts.lines)
  end
  if options.print and not options.json then
    output:text(text)
  end
end

function token.run(options, context)
  local client, mistake = service_options.client(options, context)
  if not client then
    return nil, mistake
  end
  local text, failure = authorization.token(client)
  local code = 0
  if text then
    context.secrets[#context.secrets + 1] = text
    show(text, options, context)
  else
    code = tell_failure(client, failure, options, context)
  end
  client:close()
  return code
end

return token
