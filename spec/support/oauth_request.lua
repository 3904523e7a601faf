--- Requests to a token endpoint, for specs of what comes of them.

local assert = require "luassert"
local oauth = require "autopilot.token.oauth"
local overlay = require "support.overlay"
local token_world = require "support.token_world"

local oauth_request = {}

--- The secret of the request's form, with what has to be encoded in it.
oauth_request.secret = "h~u s+h/=&%hush-4f6c1d0e9a7b"

--- An application's request; `given` replaces fields of it.
function oauth_request.of(given)
  local fields = {
    authority = "https://login.microsoftonline.com",
    tenant = "contoso",
    form = { grant_type = "client_credentials", client_secret = oauth_request.secret },
  }
  overlay(fields, given)
  return fields
end

--- Message and details of the refusal of one request that is answered like this.
---@return string message
---@return table details
function oauth_request.refusal(answer, given)
  local world = token_world.scripted({ answer }, given)
  local token, message, details = oauth.request(world.ask, oauth_request.of())
  assert.is_nil(token)
  assert.are.equal("string", type(message))
  assert.are.equal("boolean", type(details.is_transient))
  assert(not message:find "%c" and #message <= 400, message)
  return message, details
end

return oauth_request
