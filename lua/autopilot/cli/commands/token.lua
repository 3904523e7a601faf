--- `autopilot-sync token`: signs in, and shows what the token says of itself.

local Call = require "autopilot.sync.call"
local attempts = require "autopilot.sync.attempts"
local bearer = require "autopilot.graph.bearer"
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
    .. "permissions and expiry of the token. Sends nothing to the service. Ends in 5 where "
    .. "the token "
    .. "surely does not permit a sync.",
}

function token.declare(parser)
  service_options.declare(parser)
  parser:flag("--inspect", "Show what the token says of itself; this is the default.")
  parser:flag("--print", "Print the token itself, which is a secret.")
end

--- Signs in, again as the client's policy says while the token endpoint fails.
---@param client autopilot.Client
---@return string? text the token
---@return autopilot.Report? failed why there is none, or none that can be of use
local function obtain(client)
  local call, text = Call.new(client, "token"), nil
  local answer = attempts.run(call, function()
    local failure, is_vouched
    text, failure, is_vouched = bearer.token(client, { waited_until = call.slept_until })
    failure = failure or bearer.misfit(client, text, true, is_vouched)
    local answer = failure and bearer.answer(client, failure)
    return answer or {}, answer
  end)
  answer.operation = call.name
  return text, answer.outcome and report.seal(answer) or nil
end

--- Shows what the token says, and then what is wrong with it.
---@param failed autopilot.Report?
local function show(text, failed, options, context)
  local output = context.output
  local wants_facts = options.inspect or not options.print
  if options.json or wants_facts then
    local facts = token_facts.of(text, (context.now or core.now)())
    facts.token = options.print and text or nil
    if options.json and failed then
      facts.ok, facts.outcome = false, failed.outcome
      facts.error, facts.hint = failed.error, failed.hint
    end
    output:report(facts, options, token_facts.lines)
  end
  if options.print and not options.json then
    output:text(text)
  end
  if failed and not options.json then
    output:report(failed, options)
  end
end

function token.run(options, context)
  local client, mistake = service_options.client(options, context)
  if not client then
    return nil, mistake
  end
  local text, failed = obtain(client)
  if text then
    context.secrets[#context.secrets + 1] = text
    show(text, failed, options, context)
  else
    context.output:report(failed, options)
  end
  client:close()
  return failed and outcome.exit_code(failed) or 0
end

return token
