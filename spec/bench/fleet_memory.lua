-- What a fleet needs for its tenants: prints the bytes for each that sleeps in a cooldown, and how much
-- more the whole needs for a list of 100,000 than for one of 1,000, both read one by one.

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

--- Every tenant's service is throttled for long, so that all of them wait at the end.
local function sleeping(count)
  local before, taken = used(), nil
  local fleet = autopilot.fleet {
    tenants = count_to(count),
    concurrency = 16,
    client = { token = "token", retry = autopilot.retry.patient {} },
    retry_budget = false,
    transport = function()
      return { status = 429, headers = {}, body = "" }
    end,
    clock = function()
      return time
    end,
    now = function()
      return 1e9 + time
    end,
    sleep = function(seconds)
      taken = taken or used() - before
      time = time + 3600 + seconds
    end,
  }
  fleet:run { on_report = function() end }
  return taken / count
end

--- The most that is used while a list of that length is worked off.
local function working(count)
  local before, most = used(), 0
  local fleet = autopilot.fleet {
    tenants = count_to(count),
    client = { token = "token", cooldown = 0 },
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

local short, long = working(1000), working(100000)
print(("%.0f\n%.0f"):format(sleeping(5000), long - short))
