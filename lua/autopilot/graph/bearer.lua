--- The token of a request: what its provider is asked, and what came of that.
--
-- A provider is somebody else's code, and what it says may quote anything: it is made safe here. When to
-- ask, and what a refusal by the service means, is left to `exchange`.

local facts = require "autopilot.graph.access_token"
local protected_call = require "autopilot.base.protected_call"
local redact = require "autopilot.base.redact"

local authorization = {}

---@class autopilot.TokenFailure what a provider failed with, as safe texts
---@field message string
---@field error { code: string?, message: string, reason: string?, correlation_id: string?, trace_id: string? }
---@field hint string?
---@field retry_after number? seconds
---@field is_transient boolean? another attempt may succeed
---@field may_refresh boolean? a newer token may be without this fault

local longest_message, longest_fact = 490, 100 -- characters

-- What a provider may tell about a failure, beside its message (RFC 6749 section 5.2 and Entra's fields).
local told = { "code", "reason", "correlation_id", "trace_id" }

--- A text of a provider's as one safe line; nil when it is none.
local function line_of(text, clean, longest)
  local kind = type(text)
  if kind == "number" then
    text = ("%.14g"):format(text)
  elseif kind ~= "string" or text == "" then
    return nil
  end
  return require("autopilot.base.sentence").clean(clean(text), longest)
end

local function seconds_of(value)
  local is_useful = type(value) == "number" and value >= 0 and value < math.huge
  return is_useful and value or nil
end

--- What a provider failed with.
---@return autopilot.TokenFailure
local function failure_of(client, message, details)
  local clean = redact.prepare { client.last_token }
  local text = line_of(type(message) == "string" and message, clean, longest_message)
    or "the token provider returned no token"
  local failure = { message = text, error = { message = text } }
  if type(details) == "table" then
    for _, name in ipairs(told) do
      failure.error[name] = line_of(rawget(details, name), clean, longest_fact)
    end
    failure.hint = line_of(rawget(details, "hint"), clean, longest_message)
    failure.retry_after = seconds_of(rawget(details, "retry_after"))
    failure.is_transient = rawget(details, "is_transient") == true
  end
  return failure
end

--- HTTP layer and sleep that do not go beyond the client's deadline.
local function within(client, deadline)
  local options, transport = client.options, client.transport
  local function remaining()
    return math.max(0, deadline - options.clock())
  end
  local function send(request)
    local left, timeout = remaining(), request.timeout or {}
    if left <= 0 then
      local message = "the deadline passed before the token was there"
      return nil,
        {
          stage = "connect",
          name = "DEADLINE",
          message = message,
          timeout = true,
          delivered = "no",
        }
    end
    local copy = {}
    for name, value in pairs(request) do
      copy[name] = value
    end
    copy.timeout = {
      connect = math.min(timeout.connect or left, left),
      total = math.min(timeout.total or left, left),
    }
    local response, network = transport(copy)
    return response, network
  end
  local function sleep(seconds)
    options.sleep(math.min(seconds, remaining()))
  end
  return send, sleep, options.now() + remaining()
end

--- Asks the provider.
local function ask_provider(client, context, refused)
  local options, transport = client.options, client.transport
  local sleep, give_up_at = options.sleep, nil
  if context.deadline then
    transport, sleep, give_up_at = within(client, context.deadline)
  end
  local refresh = refused ~= nil
  local ok, token, message, details = protected_call(client.token_provider, {
    tenant = client.tenant or nil,
    has_several = options.has_several,
    cloud = options.cloud,
    scope = client.scope,
    claims = refused and context.claims or nil,
    refresh = refresh,
    refused = refused,
    waited_until = context.waited_until,
    transport = transport,
    sleep = sleep,
    now = options.now,
    deadline = give_up_at,
  })
  local is_token = ok and type(token) == "string" and token ~= ""
  if client.on_event then
    client:emit("token", { refresh = refresh, ok = is_token })
  end
  if is_token then
    return token, nil, type(message) == "number" and message > 0
  elseif not ok then
    return nil, failure_of(client, token)
  end
  return nil, failure_of(client, message, details)
end

--- The token for the next request, or nil and why there is none. Never raises.
---@param client autopilot.Client
---@param context autopilot.ExchangeContext of the request; its `claims` are those of the refusal
---@param refused string? the token that was refused
---@return string? token
---@return autopilot.TokenFailure? failure
---@return boolean? is_vouched the provider has said that the token has some time left
function authorization.token(client, context, refused)
  if client.static_token then
    return client.static_token
  end
  local token, failure, is_vouched = ask_provider(client, context, refused)
  if token and token ~= client.last_token then
    client.last_token = not client.is_closed and token
  end
  return token, failure, is_vouched
end

--- Why a token must not be sent with a request, or nil. It is read once, when it is first seen.
---@param client autopilot.Client
---@param token string
---@param is_sync boolean false: the record is to be read
---@param is_vouched boolean? its time need not be looked at
---@return autopilot.TokenFailure?
function authorization.misfit(client, token, is_sync, is_vouched)
  local known, is_new = client.facts, client.facts_of ~= token
  if is_new then
    known = facts.of(token)
    client.facts_of, client.facts = token, known
    known.wrong = facts.misdirected(known, client.tenant or nil, client.audience or nil)
    known.lacks = {
      [true] = facts.unpermitted(known, true),
      [false] = facts.unpermitted(known, false),
    }
  end
  local wrong = known.wrong
    or (not is_vouched and known.expires_at and facts.expired(known, client.options.now()))
    or known.lacks[is_sync]
  if not wrong then
    return nil
  end
  local failure = failure_of(client, wrong.message, wrong)
  -- A permission may have been granted since the token was first seen.
  failure.may_refresh = wrong ~= known.wrong and not (is_new and wrong == known.lacks[is_sync])
  return failure
end

--- The answer of a request that could not be sent for want of a token.
---@param client autopilot.Client
---@param failure autopilot.TokenFailure
---@return table answer in the shape of a report
function authorization.answer(client, failure)
  local retry_after = failure.retry_after
  return {
    outcome = "token_error",
    delivered = "no",
    answered_by = "client",
    sends = 0,
    error = failure.error,
    hint = failure.hint,
    retry_after = retry_after,
    retry_at = retry_after and client.options.now() + retry_after,
    is_transient = failure.is_transient,
    tenant = client.tenant or nil,
  }
end

--- What a challenge of a 401 wants to see in the next token; nil when it wants nothing.
---@param header string? WWW-Authenticate
---@return string? claims
function authorization.claims_of(header)
  return header and require("autopilot.base.claims").of_header(header)
end

return authorization
