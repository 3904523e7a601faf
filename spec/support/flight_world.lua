--- A world for specs of fetches that many wait for: its time passes only in sleeps.

local overlay = require "support.overlay"

local flight_world = {}

---@class support.FlightWorld
---@field time number Unix seconds
---@field slept integer how often
---@field ask fun(more: table?): table what a provider is asked in it; `more` adds fields

---@param sleep (fun(seconds: number): any)? what a sleep does besides
---@return support.FlightWorld
function flight_world.new(sleep)
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

--- A sleep or a transport that only lets others run.
function flight_world.yielding()
  coroutine.yield()
end

--- A fetch that counts, and its count as a table of one number.
function flight_world.counted(fetch)
  local count = { 0 }
  return function(...)
    count[1] = count[1] + 1
    return fetch(...)
  end, count
end

--- A fetch that takes some turns.
function flight_world.slow_success()
  for _ = 1, 5 do
    coroutine.yield()
  end
  return "token", 3600, "more"
end

return flight_world
