--- Clients of one tenant with one store, which call one after the other.

local assert = require "luassert"
local overlay = require "support.overlay"
local stores = require "autopilot.store"
local world = require "support.virtual_world"

local shared_tenant = { start = world.start }

shared_tenant.started = { status = 204, headers = { Date = world.date(world.start) } }

--- A world, a function that makes clients which share a store in it, and that store.
---@return support.VirtualWorld
---@return fun(answers: table, given: table?): autopilot.Client
---@return autopilot.Store
function shared_tenant.new()
  local here = world.new()
  local store = stores.memory {
    now = function()
      return here.time
    end,
  }
  local function client(answers, given)
    local options = overlay({ store = store, retry = false, recover = false }, given)
    return here:scripted(answers, options)
  end
  return here, client, store
end

--- The failure of a call for which nothing may be sent.
---@param client autopilot.Client
---@param given table? options of the call
---@return autopilot.Report
function shared_tenant.refused(client, given)
  local report, failure = client:sync(given)
  assert.is_nil(report)
  assert.are.equal("client", failure.answered_by)
  assert.are.equal("no", failure.delivered)
  assert.are.same({}, failure.attempts)
  return failure
end

return shared_tenant
