--- `autopilot-sync token`: signs in, and shows the claims of the token.

local Call = require "autopilot.sync.call"
local access_token = require "autopilot.graph.access_token"
local client_of = require "autopilot.cli.client"
local options = require "autopilot.cli.options"
local outcome = require "autopilot.sync.outcome"
local provider = require "autopilot.graph.token_provider"
local report = require "autopilot.sync.report"
local words = require "autopilot.cli.text"

---@type autopilot.cli.Command
local token = {
  name = "token",
  example = "token --auth managed",
  summary = "Sign in, and show what the token permits.",
  description = "Signs in as the other commands do, and shows audience, tenant, application, "
    .. "permissions and expiry of the token. Sends nothing to the service. Ends in 5 where "
    .. "the token surely does not permit a sync.",
  options = [[
--inspect: Show the claims of the token; this is the default.
--print: Print the token itself, which is a secret.
]] .. options.one_tenant,
}

--- Signs in, and retries as the client's policy says if the token endpoint fails. Returns the token, and a
-- report if there is no token, or none that permits a sync.
local function obtain(client)
  local call, task = Call.new(client, "token"), {}
  function task.try()
    local _, answer = provider.obtain(client, { waited_until = call.slept_until }, true)
    return answer or {}, answer
  end
  local answer = call:attempt(task)
  return client.last_token, answer.outcome and select(2, report.finish(call, answer))
end

--- The claims of a token, unverified. A token that cannot be read is no failure: only the service has to
-- understand it.
local function facts_of(text, now)
  local facts = access_token.of(text)
  facts.ok, facts.operation, facts.permission = true, "token", access_token.permission
  if not facts.message then
    facts.permitted, facts.allows = facts.allows == "sync", nil
    facts.tenant, facts.tenant_id = facts.tenant_id, nil
    facts.expires_in = facts.expires_at and facts.expires_at - now
  end
  return facts
end

local function expiry_of(facts)
  local left = facts.expires_in
  if not left then
    return "not told"
  elseif math.abs(facts.expires_at) > 1e11 then
    return "out of every range"
  end
  local form = left > 0 and "%s (in %s)" or "%s (%s ago)"
  return form:format(words.time(facts.expires_at), words.duration(math.abs(left)))
end

--- The facts as a small table.
local function lines_of(facts)
  if facts.message then
    return { "A token was given. " .. facts.message:gsub("^%l", string.upper) .. "." }
  end
  local judgement = facts.permitted and "%s is there"
    or "%s is missing: grant it to the application, with admin consent"
  return words.rows {
    { "Audience", facts.audience or "not told" },
    { "Tenant", facts.tenant or "not told" },
    { "Application", facts.application or "not told" },
    { "User", facts.user },
    { "Roles", facts.roles and table.concat(facts.roles, ", ") },
    { "Scopes", facts.scopes and table.concat(facts.scopes, ", ") },
    { "Expires", expiry_of(facts) },
    { "Permission", judgement:format(facts.permission) },
  }
end

--- Shows what the token says, and then what is wrong with it.
local function show(text, failed, given, context)
  local output = context.output
  if text and (given.json or given.inspect or not given.print) then
    local facts = facts_of(text, context.now())
    facts.token = given.print and text or nil
    if given.json and failed then
      facts.ok, facts.outcome = false, failed.outcome
      facts.error, facts.hint = failed.error, failed.hint
    end
    output:report(facts, given, lines_of)
  end
  if text and given.print and not given.json then
    output:text(text)
  end
  if failed and not (text and given.json) then
    output:report(failed, given)
  end
end

function token.run(given, context)
  local client = client_of.open(given, context)
  local text, failed = obtain(client)
  client:close()
  context:hide(text)
  show(text, failed, given, context)
  return failed and outcome.exit_code(failed) or 0
end

return token
