--- Requests to a token endpoint, for specs of their results.

local assert = require "luassert"
local authority = require "autopilot.token.authority"
local overlay = require "support.overlay"
local provider = require "autopilot.token.provider"
local token_world = require "support.token_world"

local oauth_request = {}

--- The secret of the request's form, with what has to be encoded in it.
oauth_request.secret = "h~u s+h/=&%hush-4f6c1d0e9a7b"

oauth_request.form = { grant_type = "client_credentials", client_secret = oauth_request.secret }

--- What a provider returns that asks like this.
local function provided(ask, request)
  local new = provider.kind("spec", {}, function()
    return request
  end)
  return new {}(ask)
end

--- Asks for a token with an application's form; `given` replaces fields of the place or the form.
function oauth_request.send(ask, given)
  local fields = {
    authority = "https://login.microsoftonline.com",
    tenant = "contoso",
    form = oauth_request.form,
  }
  overlay(fields, given)
  return provided(ask, function(asked)
    return authority.request(asked, fields, fields.form)
  end)
end

--- Signs an application in that proves who it is with what `prove` makes at each attempt.
---@param checked table? the provider's options
function oauth_request.sign_in(ask, prove, checked)
  checked = checked or { getenv = token_world.getenv {} }
  return provided(ask, function(asked)
    return authority.request(asked, authority.find(checked, asked), nil, prove)
  end)
end

--- Message and details of the refusal of one request that is answered like this.
---@return string message
---@return table details
function oauth_request.refusal(answer, given)
  local world = token_world.scripted({ answer }, given)
  local token, message, details = oauth_request.send(world.ask)
  assert.is_nil(token)
  assert.are.equal("string", type(message))
  assert.are.equal("boolean", type(details.is_transient))
  assert(not message:find "%c" and #message <= 400, message)
  return message, details
end

return oauth_request
