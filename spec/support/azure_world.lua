--- The world in which the Azure CLI is asked: no request may be sent in it.

local overlay = require "support.overlay"
local token_world = require "support.token_world"

local azure_world = {}

azure_world.guid = "01234567-89ab-cdef-0123-456789abcdef"
azure_world.opaque = "opaque-token-0123456789"

local function no_request()
  error "no request is to be sent"
end

---@param given table? replaces fields of what is asked
---@return support.TokenWorld
function azure_world.new(given)
  return token_world.over(no_request, given)
end

--- What `az` prints: its own fields, changed.
function azure_world.printed(fields)
  local all = {
    accessToken = azure_world.opaque,
    tokenType = "Bearer",
    subscription = "s",
    tenant = azure_world.guid,
  }

  overlay(all, fields)
  return token_world.answer(200, all).body
end

return azure_world
