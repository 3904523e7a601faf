--- One fetch of a token at a time for each key: others that ask meanwhile wait, and get its result. The leases for it
-- are of one process, or of all processes that use a store, in which case `fetch` looks the result up there.
--
-- The fetching coroutine holds a lease and renews it whenever the provider sends a request or sleeps.
-- A waiter fetches by itself when the holder has let the lease expire, when the holder's fetch failed because
-- the holder had less time than the waiter has, and when it has brought a token that the waiter knows as refused.

local core = require "autopilot.core"
local merged = require "autopilot.base.merged"
local protected_call = require "autopilot.base.protected_call"

-- Seconds. A request may take that long when it names no timeout, and so may a provider that sends none.
local default_timeout = 60
-- Seconds added to what a request may take, before its holder counts as stuck. Abandoning a holder
-- too early costs one more request; a long patience costs all waiters' time.
local patience = 5
-- Seconds. A fetch that failed with less time left may have lacked time: a waiter that has this time repeats it.
local worth_a_try = 1
-- Seconds. A waiter waits no longer for another process: a store may not drop what has expired.
local longest_wait = default_timeout + patience
-- After so many leases of others without a result, the provider is asked without a lease.
local most_tries = 100

--- Seconds until the deadline in `ask`; math.huge without one.
local function time_left(ask)
  return ask.deadline and ask.deadline - (ask.now or core.now)() or math.huge
end

--- A copy of `ask` for the provider. Its `transport` and `sleep` renew the lease for as long as they may take.
local function watched(lease, ask)
  local function expect(seconds)
    local longest = math.min(seconds or default_timeout, time_left(ask))
    lease:renew(math.max(0, longest) + patience)
  end
  local transport, sleep = ask.transport, ask.sleep or core.sleep
  return merged(ask, {
    transport = transport and function(request)
      local timeout = type(request) == "table" and request.timeout
      expect(timeout and timeout.total)
      return transport(request)
    end,
    sleep = function(seconds)
      expect(seconds)
      return sleep(seconds)
    end,
  })
end

--- Calls `fetch`, and returns up to three values of it; nil and a message if it raised an error. Those who wait for the
-- lease, if there is one, get these values, the `refused` token of `ask`, and whether the fetch `lacked_time`.
local function run(fetch, ask, lease)
  local ok, first, second, third = protected_call(fetch, lease and watched(lease, ask) or ask)
  if not ok then
    first, second = nil, type(first) == "string" and first or "the token provider raised an error"
  end
  if lease then
    local lacked_time = time_left(ask) < worth_a_try
    lease:release { first, second, third, refused = ask.refused, lacked_time = lacked_time }
  end
  return first, second, third
end

--- Whether the results of another coroutine's fetch are useless for this one: it failed for lack of time, and this
-- one has more; or it has brought a token that this one knows to be refused.
local function can_do_better(results, ask)
  local kept = results[1]
  if kept == nil then
    return results.lacked_time and time_left(ask) >= worth_a_try
  end
  return type(kept) == "table" and kept.token == ask.refused and results.refused ~= ask.refused
end

--- Returns up to three values of `fetch(ask)`: called here, or by another coroutine for the same key. In leases that
-- processes share, `fetch` first looks for what another process has brought. Never raises for what `fetch` raises.
---@param leases autopilot.Leases of this process, or of all that use a store
---@param ask autopilot.TokenAsk
---@param fetch fun(ask: autopilot.TokenAsk): any, any, any
---@param known any? a result that can still be used: it is returned at once if another one is fetching
---@return any first, any second, any third
return function(leases, key, ask, fetch, known)
  local is_shared = leases.is_shared
  for _ = 1, most_tries do
    local lease, message = leases:take(key, default_timeout)
    local how, seen
    if not lease and message == "exists" then
      if known then
        return known
      end
      local seconds = math.min(time_left(ask), is_shared and longest_wait or math.huge)
      how, seen = leases:wait(key, { sleep = ask.sleep, now = ask.now, seconds = seconds })
    end
    if how == "late" and (not is_shared or time_left(ask) <= 0) then
      return nil, "the deadline passed while another was fetching the token"
    elseif how ~= "over" then -- this call has the lease, or waiting is useless
      return run(fetch, ask, lease)
    end
    local results = not is_shared and seen and seen.lease and seen.lease.result
    if results and not can_do_better(results, ask) then
      return results[1], results[2], results[3]
    end
  end
  return run(fetch, ask)
end
