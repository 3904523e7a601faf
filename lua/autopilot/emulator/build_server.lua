--- The endpoints by which a job of a build server gets an assertion (OpenID Connect): GitHub Actions ("OpenID Connect
-- reference") and Azure Pipelines ("Oidctoken - Create").

local answers = require "autopilot.emulator.answers"

local build_server = {}

---@class autopilot.emulator.BuildServer whose job asks
---@field key string that the job has to send
---@field issuer string of its assertions
---@field subject string
---@field service_connection string? the id that a job of Azure Pipelines has to name

-- Seconds.
local lifetime = 600

--- An endpoint: `check` says whether a request is right, and `answer` makes the answer of an assertion.
local function endpoint(method, check, answer)
  return function(service, call)
    local known = service.options.build_server
    local function demand(is_right, status, message)
      if not is_right then
        error(answers.json(call, { message = message }, status))
      end
    end
    demand(known and call.headers.authorization == "Bearer " .. known.key, 401, "Unauthorized")
    demand(call.method == method, 405, "The method is not allowed.")
    local audience = check(known, call.query)
    demand(audience, 404, "There is no such service connection or audience.")
    local claims = { iss = known.issuer, sub = known.subject, aud = audience }
    return answers.json(call, answer(service.tokens:assertion(claims, call.now, lifetime)))
  end
end

build_server.github = endpoint("GET", function(_, query)
  return query.audience
end, function(assertion)
  return { count = #assertion, value = assertion }
end)

build_server.azure = endpoint("POST", function(known, query)
  local is_right = query["api-version"] and query.serviceConnectionId == known.service_connection
  return is_right and "api://AzureADTokenExchange"
end, function(assertion)
  return { oidcToken = assertion }
end)

return build_server
