--- A service that refuses tokens, and a provider that is asked for others.

local refused_token = {}

--- A provider that returns these tokens in turn, the last one for ever; `asks` has the arguments of its calls.
---@param ... string
---@return autopilot.TokenProvider
---@return autopilot.TokenAsk[] asks
function refused_token.provider_of(...)
  local tokens, asks = { ... }, {}
  return function(ask)
    asks[#asks + 1] = ask
    return tokens[math.min(#asks, #tokens)]
  end,
    asks
end

--- The answer to a token that is over.
refused_token.unauthorized = {
  status = 401,
  body = '{"error":{"code":"InvalidAuthenticationToken","message":"Lifetime validation failed."}}',
}

return refused_token
