--- A world for specs of fetches that many wait for: its time passes only in sleeps.

local Leases = require "autopilot.base.lease"
local overlay = require "support.overlay"

local fetch_world = {}

---@class support.FetchWorld
---@field time number Unix seconds
---@field slept integer how often
---@field ask fun(more: table?): table what a provider is asked in it; `more` adds fields

---@param sleep (fun(seconds: number): any)? what a sleep does besides
---@return support.FetchWorld
function fetch_world.new(sleep)
  local world = { time = 1000, slept = 0 }
  function world.ask(more)
    local ask = {
      now = function()
        return world.time
      end,
      sleep = function(seconds)
        world.slept = world.slept + 1
        world.time = world.time + seconds
        return sleep and sleep(seconds)
      end,
    }
    overlay(ask, more)
    return ask
  end
  return world
end

--- A set of leases, and the list of all that were taken of it.
function fetch_world.leases()
  local leases, taken = Leases.new(), {}
  function leases.take(...)
    local lease, message = Leases.take(...)
    taken[#taken + 1] = lease
    return lease, message
  end
  return leases, taken
end

--- A sleep or a transport that only lets others run.
function fetch_world.yielding()
  coroutine.yield()
end

--- A fetch that counts, and its count as a table of one number.
function fetch_world.counted(fetch)
  local count = { 0 }
  return function(...)
    count[1] = count[1] + 1
    return fetch(...)
  end, count
end

--- A fetch that takes some turns.
function fetch_world.slow_success()
  for _ = 1, 5 do
    coroutine.yield()
  end
  return "token", 3600, "more"
end

return fetch_world
