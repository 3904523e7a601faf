--- Gets tokens from a client's token provider: one to send, and a newer one after the service has refused a token.

local access_token = require "autopilot.graph.access_token"
local complaint_about = require("autopilot.base.options").token_complaint
local lazy = require "autopilot.base.lazy"
local merged = require "autopilot.base.merged"
local protected_call = require "autopilot.base.protected_call"

local answers = lazy "autopilot.graph.answer"
local trace = lazy "autopilot.graph.trace"

local provider = {}

--- Returns a transport and a sleep function that do not last beyond the deadline, and the deadline as Unix time. The
-- argument `deadline` is on the client's clock.
local function until_deadline(client, transport, deadline)
  local options = client.options
  local function remaining()
    return math.max(0, deadline - options.clock())
  end
  local function send(request)
    local left, given = remaining(), request.timeout or {}
    if left <= 0 then
      local message = "the deadline passed before the token was there"
      return nil, answers.kept_back(client, "DEADLINE", message).network
    end
    local connect, total =
      math.min(given.connect or left, left), math.min(given.total or left, left)
    return transport(merged(request, { timeout = { connect = connect, total = total } }))
  end
  local function sleep(seconds)
    options.sleep(math.min(seconds, remaining()))
  end
  return send, sleep, options.now() + remaining()
end

--- Asks the client's provider for a token. A client that was given a fixed token returns that one. Never raises an
-- error. The arguments are those of `provider.obtain`.
---@return string? token nil if the provider returned no token, or if the client is closed, perhaps by the provider
---@return table? answer in the shape of a report, if there is no token
---@return boolean? is_vouched the provider has returned a lifetime for the token
local function ask(client, given, refused)
  if client.is_closed then
    return nil, answers.closed(client)
  elseif client.static_token then
    return client.static_token
  end
  local options, transport = client.options, client.transport
  if options.trace then
    transport = trace.wrap(client, transport)
  end
  local sleep, give_up_at = options.sleep, nil
  if given.deadline then
    transport, sleep, give_up_at = until_deadline(client, transport, given.deadline)
  end
  local ok, token, message, details = protected_call(client.token_provider, {
    tenant = client.tenant or nil,
    has_several = options.has_several,
    cloud = options.cloud,
    scope = client.scope,
    claims = refused and refused.claims,
    refresh = refused ~= nil,
    refused = refused and refused.token,
    waited_until = given.waited_until and options.now() + given.waited_until - options.clock(),
    transport = transport,
    sleep = sleep,
    now = options.now,
    deadline = give_up_at,
  })
  local complaint = ok and complaint_about(token)
  local is_token = ok and not complaint
  if client.on_event then
    client:emit("token", { refresh = refused ~= nil, ok = is_token })
  end
  if client.is_closed then
    return nil, answers.closed(client)
  elseif not is_token then
    message = ok and token and "the provider's token " .. complaint or ok and message or token
    return nil, answers.without_token(client, message, ok and details)
  end
  client.last_token = token
  return token, nil, type(message) == "number" and message > 0
end

--- Asks the provider for a token, and checks that it may be sent. Returns nil and the answer that says why no token
-- may be sent; nil alone if the provider returned the refused token again. The provider is asked a second time if
-- its token has expired, or was known to lack the permission.
---@param client autopilot.Client
---@param given { deadline: number?, waited_until: number? } of the request
---@param is_sync boolean false: the record is to be read
---@param refused { token: string, claims: string? }? the token that the service has refused, and the claims that its answer demands
---@return string? token
---@return table? answer in the shape of a report
function provider.obtain(client, given, is_sync, refused)
  local token, answer, is_vouched = ask(client, given, refused)
  if not token then
    return nil, answer
  elseif refused and token == refused.token then
    return nil
  end
  local misfit, may_refresh = access_token.misfit(client, token, is_sync, is_vouched)
  if may_refresh and not refused then
    local newer, failure, newer_is_vouched = ask(client, given, { token = token })
    if client.is_closed then
      return nil, failure
    elseif newer and newer ~= token then
      token = newer
      misfit = access_token.misfit(client, token, is_sync, newer_is_vouched)
    end
  end
  return not misfit and token or nil, misfit
end

--- Repeats a request once, with a newer token from the provider, after the service has refused its token.
---@return table answer as for `Request:run`, as all results; the 401 where no request could be sent with a newer token
function provider.try_newer(request, client, given, answer, refused)
  local again, body = request:run(client, given, refused)
  if not again then
    return answer
  elseif again.outcome == "token_error" then
    -- The hint contains the provider's failure.
    answer.hint = "The service refused the token, and its provider gave no other: "
      .. again.error.message
    -- `retry_at` is not set: this Retry-After is the token endpoint's, and does not apply to requests to Graph.
    answer.is_transient, answer.retry_after = again.is_transient, again.retry_after
    return answer
  end
  local is_late = given.deadline and client.options.clock() >= given.deadline
  if again.outcome == "unreachable" and (client.is_closed or is_late) then
    answer.gave_up = client.is_closed and "not_retryable" or "deadline"
    return answer
  end
  return again, body
end

return provider
