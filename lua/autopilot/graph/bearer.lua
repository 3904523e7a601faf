--- The token of a request: asks the provider for it, and checks whether it may be sent with the request.

local access_token = require "autopilot.graph.access_token"
local answers = require("autopilot.base.lazy") "autopilot.graph.answer"
local core = require "autopilot.core"
local protected_call = require "autopilot.base.protected_call"

local bearer = {}

--- Returns the client's transport and sleep, limited so that neither lasts beyond the deadline; and the
-- deadline, which is given on the monotonic clock, as Unix time.
local function until_deadline(client, deadline)
  local options, transport = client.options, client.transport
  local function remaining()
    return math.max(0, deadline - options.clock())
  end
  local function send(request)
    local left, timeout = remaining(), request.timeout or {}
    if left <= 0 then
      local message = "the deadline passed before the token was there"
      return nil, answers.kept_back(client, "DEADLINE", message).network
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

---@class autopilot.RefusedToken
---@field token string
---@field claims string? what the challenge in the answer wants to see in the next token

--- Asks the provider.
---@return string? token
---@return autopilot.TokenFailure? failure
---@return boolean? is_vouched
local function ask_provider(client, given, refused)
  local options, transport = client.options, client.transport
  local sleep, give_up_at = options.sleep, nil
  if given.deadline then
    transport, sleep, give_up_at = until_deadline(client, given.deadline)
  end
  local ok, token, message, details = protected_call(client.token_provider, {
    tenant = client.tenant or nil,
    has_several = options.has_several,
    cloud = options.cloud,
    scope = client.scope,
    claims = refused and refused.claims,
    refresh = refused ~= nil,
    refused = refused and refused.token,
    waited_until = given.waited_until,
    transport = transport,
    sleep = sleep,
    now = options.now,
    deadline = give_up_at,
  })
  local is_token = ok and type(token) == "string" and token ~= ""
  client:emit("token", { refresh = refused ~= nil, ok = is_token })
  if is_token then
    return token, nil, type(message) == "number" and message > 0
  elseif not ok then
    return nil, answers.token_failure(client, token)
  end
  return nil, answers.token_failure(client, message, details)
end

--- Obtains the token for the next request; or returns nil and why no token was obtained. Never raises.
---@param client autopilot.Client
---@param given { deadline: number?, waited_until: number? } of the request
---@param refused autopilot.RefusedToken? the token that the service has refused
---@return string? token
---@return autopilot.TokenFailure? failure
---@return boolean? is_vouched the provider has said that the token has some time left
function bearer.token(client, given, refused)
  if client.static_token then
    return client.static_token
  end
  local token, failure, is_vouched = ask_provider(client, given, refused)
  if token and not client.is_closed then
    client.last_token = token
  end
  return token, failure, is_vouched
end

--- What a token says of itself, and what is wrong with it. A token is read once, when it is first seen.
---@return autopilot.graph.TokenFacts facts
---@return boolean is_new
local function facts_of(client, token)
  if client.facts_of == token then
    return client.facts, false
  end
  local facts = access_token.of(token)
  facts.misdirected = access_token.misdirected(facts, client.tenant or nil, client.audience or nil)
  facts.fits_header = core.is_header_text(token)
  client.facts_of, client.facts = token, facts
  return facts, true
end

--- Why a token must not be sent with a request, or nil.
---@param client autopilot.Client
---@param token string
---@param is_sync boolean false: the record is to be read
---@param is_vouched boolean? its provider has said that it has some time left
---@return autopilot.TokenFailure?
function bearer.misfit(client, token, is_sync, is_vouched)
  local facts, is_new = facts_of(client, token)
  local unpermitted = access_token.unpermitted(facts, is_sync)
  local wrong = facts.misdirected
    or (not is_vouched and access_token.expired(facts, client.options.now()))
    or unpermitted
  if not wrong then
    return nil
  end
  local failure = answers.token_failure(client, wrong.message, wrong)
  -- A permission may have been granted since the token was first seen.
  failure.may_refresh = not facts.misdirected and not (is_new and wrong == unpermitted)
  return failure
end

--- What `bearer.obtain` returns where the client was closed: before the call, or by its token provider.
local function closed(client)
  return nil, answers.kept_back(client, "CLOSED", "the client was closed meanwhile")
end

--- A token that may be sent with a request; or nil and the answer that says why there is none; or nil
-- alone where the provider has none but the refused one.
---@param client autopilot.Client
---@param given { deadline: number?, waited_until: number? } of the request
---@param is_sync boolean false: the record is to be read
---@param refused autopilot.RefusedToken? the token that the service has refused
---@return string? token
---@return table? answer in the shape of a report
function bearer.obtain(client, given, is_sync, refused)
  if client.is_closed then
    return closed(client)
  end
  local token, failure, is_vouched = bearer.token(client, given, refused)
  if client.is_closed then
    return closed(client)
  elseif not token then
    return nil, answers.without_token(client, failure)
  elseif refused and token == refused.token then
    return nil
  end
  local misfit = bearer.misfit(client, token, is_sync, is_vouched)
  if misfit and misfit.may_refresh and not refused then
    local newer, _, newer_is_vouched = bearer.token(client, given, { token = token })
    if client.is_closed then
      return closed(client)
    elseif newer and newer ~= token then
      token = newer
      misfit = bearer.misfit(client, token, is_sync, newer_is_vouched)
    end
  end
  if misfit then
    return nil, answers.without_token(client, misfit)
  elseif not client.facts.fits_header then
    -- A mistake of the provider's author: it is raised at the line of the operation's caller.
    return nil, { outcome = "token_error", mistake = "the token contains CR, LF or NUL" }
  end
  return token
end

return bearer
