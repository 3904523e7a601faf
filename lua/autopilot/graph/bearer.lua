--- The token of a request: asks the provider for it, and checks whether it may be sent with the request.

local access_token = require "autopilot.graph.access_token"
local core = require "autopilot.core"
local lazy = require "autopilot.base.lazy"

local answers = lazy "autopilot.graph.answer"
local provider = lazy "autopilot.graph.token_provider"

local bearer = {}

--- Obtains the token for the next request; or returns nil and why no token was obtained. Never raises.
---@param client autopilot.Client
---@param given { deadline: number?, waited_until: number? } of the request
---@param refused { token: string, claims: string? }? the token that the service has refused, and what its answer wants
---@return string? token
---@return autopilot.TokenFailure? failure
---@return boolean? is_vouched the provider has said that the token has some time left
function bearer.token(client, given, refused)
  if client.static_token then
    return client.static_token
  end
  return provider.ask(client, given, refused)
end

--- Notes what a token says of itself, and what is wrong with it.
local function read(client, token)
  local facts = access_token.of(token, true)
  facts.token = token
  facts.misdirected = access_token.misdirected(facts, client.tenant or nil, client.audience or nil)
  facts.fits_header = core.is_header_text(token)
  client.facts = facts
end

--- Why a token must not be sent with a request, or nil. A token is read once, when it is first seen.
---@param client autopilot.Client
---@param token string
---@param is_sync boolean false: the record is to be read
---@param is_vouched boolean? its provider has said that it has some time left
---@return autopilot.TokenFailure?
function bearer.misfit(client, token, is_sync, is_vouched)
  local is_new = not client.facts or client.facts.token ~= token
  if is_new then
    read(client, token)
  end
  local facts = client.facts
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

--- A token that may be sent with a request; or nil and the answer that says why there is none; or nil
-- alone where the provider has none but the refused one.
---@param client autopilot.Client
---@param given { deadline: number?, waited_until: number? } of the request
---@param is_sync boolean false: the record is to be read
---@param refused { token: string, claims: string? }? as above
---@return string? token
---@return table? answer in the shape of a report
function bearer.obtain(client, given, is_sync, refused)
  if client.is_closed then
    return nil, answers.closed(client)
  end
  local token, failure, is_vouched = bearer.token(client, given, refused)
  if client.is_closed then
    return nil, answers.closed(client)
  elseif not token then
    return nil, answers.without_token(client, failure)
  elseif refused and token == refused.token then
    return nil
  end
  local misfit = bearer.misfit(client, token, is_sync, is_vouched)
  if misfit and misfit.may_refresh and not refused then
    local newer, _, newer_is_vouched = bearer.token(client, given, { token = token })
    if client.is_closed then
      return nil, answers.closed(client)
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
