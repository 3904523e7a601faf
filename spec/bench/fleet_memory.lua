-- The memory that a fleet needs for its tenants: prints the resident bytes for each that sleeps in a cooldown,
-- and how much more the whole needs for a list of 100,000 than for one of 1,000, both read one by one.

local autopilot = require "autopilot"

local time = 0

local function used()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count" * 1024
end

local function count_to(last)
  local number = 0
  return function()
    number = number + 1
    return number <= last and ("tenant%06d.example"):format(number) or nil
  end
end

--- Bytes of this process in memory (Linux).
local function resident()
  local file = assert(io.open "/proc/self/statm")
  local _, pages = file:read("*n", "*n")
  file:close()
  return pages * 4096
end

--- Every tenant's service is throttled for long, so that all of them sleep at the end. Resident bytes for each
-- of those after the first thousand.
local function sleeping(count)
  local first, asked, policy, bytes = 1000, 0, autopilot.retry.patient {}, nil
  local at_first
  local fleet = autopilot.fleet {
    tenants = count_to(count),
    concurrency = 16,
    client = function(tenant)
      return { token = "token of " .. tenant, retry = policy }
    end,
    retry_budget = false,
    transport = function()
      asked = asked + 1
      at_first = at_first or asked == first and resident() or nil
      return { status = 429, headers = {}, body = "" }
    end,
    clock = function()
      return time
    end,
    now = function()
      return 1e9 + time
    end,
    sleep = function(seconds)
      bytes = bytes or (resident() - at_first) / (count - first)
      time = time + 3600 + seconds
    end,
  }
  fleet:run { on_report = function() end }
  return bytes
end

--- The most that is used while a list of that length is worked off.
local function working(count)
  local before, most = used(), 0
  local fleet = autopilot.fleet {
    tenants = count_to(count),
    client = function(tenant)
      return { token = "token of " .. tenant, cooldown = 0 }
    end,
    transport = function()
      return { status = 204, headers = {}, body = "" }
    end,
  }
  local number = 0
  fleet:run {
    on_report = function()
      number = number + 1
      if number % 500 == 0 then
        most = math.max(most, used() - before)
      end
    end,
  }
  return most
end

local bytes = sleeping(5000) -- first, while the process has no memory to use again
local short, long = working(1000), working(100000)
print(("%.0f\n%.0f"):format(bytes, long - short))
