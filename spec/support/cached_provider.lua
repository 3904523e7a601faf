--- A cached provider that counts its calls, for specs: it gives token-1, token-2, … in a world whose clock
-- only the spec moves, and in which sleeping lets other coroutines run.

local cached = require "autopilot.token.cached"
local overlay = require "support.overlay"

local cached_provider = {}

---@class support.CachedProvider
---@field time number Unix seconds
---@field asks table[] what the provider was asked, in order
---@field ask fun(more: table?): string?, ... asks the cache; `more` replaces fields of what is asked

---@param given table? options of the cache
---@param answer (fun(number: integer, ask: table): ...)? what the provider returns at that request
---@return support.CachedProvider
function cached_provider.new(given, answer)
  local case = { time = 5000, asks = {} }
  local function raw(ask)
    case.asks[#case.asks + 1] = ask
    if answer then
      return answer(#case.asks, ask)
    end
    return "token-" .. #case.asks, 3600
  end
  local provider = cached(raw, given)
  function case.ask(more)
    local ask = {
      tenant = "contoso",
      cloud = "global",
      scope = "https://graph.microsoft.com/.default",
      now = function()
        return case.time
      end,
      sleep = function()
        coroutine.yield()
      end,
    }
    overlay(ask, more)
    return provider(ask)
  end
  return case
end

return cached_provider
