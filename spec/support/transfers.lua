--- Transfers of the C module's sets, for specs: from hostile servers, which are stepped with the set.

local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local overlay = require "support.overlay"
local wire = require "support.wire"

local transfers = {}

--- Seconds that are not to be reached (`hostile.until_true` gives up before), and some that are.
transfers.limit = 60 * hostile.patience
transfers.short = 0.05 * hostile.patience

--- A prepared POST to a server; `options` replaces fields of it.
function transfers.request_to(server, options)
  local given = overlay({ method = "POST", url = server:url() }, options)
  return core.request(given)
end

--- A server that answers every request with 204.
function transfers.serving()
  return hostile.listen(wire.serves())
end

--- A server that says no more than this, and does not notice when the client hangs up.
---@param answer string?
function transfers.stalling(answer)
  return hostile.listen(wire.answers(answer or "", "stall"))
end

--- Steps servers and set until the condition holds.
function transfers.run(set, condition)
  hostile.until_true(condition, function()
    set:step(0.001)
  end)
end

--- Steps servers and set until all these transfers are finished.
function transfers.run_until_finished(set, ...)
  for _, transfer in ipairs { ... } do
    transfers.run(set, function()
      return transfer:is_finished()
    end)
  end
end

--- How long work took.
function transfers.seconds_of(work)
  local began = core.clock()
  work()
  return core.clock() - began
end

return transfers
