-- What the measured nginx worker does when it is asked to: calls, and figures of the worker itself.
--
-- Run once by init_by_lua_file; sets one global, `bench`. Settings come from the environment.

local core = require "autopilot.core"
local ngx = require "ngx"

local driver = os.getenv "BENCH_DRIVER"
local latency = tonumber(os.getenv "BENCH_LATENCY")
local autopilot = require(driver == "blocking" and "autopilot" or "autopilot.openresty")
if driver ~= "blocking" then
  autopilot.setup { driver = driver }
end

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local token = read_file(os.getenv "BENCH_TOKEN"):match "%S+"
local http = { ca_file = os.getenv "BENCH_CA" }

local function client_for(port)
  return autopilot.client {
    token = token,
    base_url = "https://127.0.0.1:" .. port,
    http = http,
    retry = false,
    recover = false,
    cooldown = 0,
  }
end

-- Resident memory of this process in KiB.
local function resident()
  return tonumber(read_file("/proc/self/status"):match "VmRSS:%s*(%d+)")
end

local function percentile(sorted, share)
  return sorted[math.max(1, math.ceil(#sorted * share))] or 0
end

-- One call; adds what it took beyond the upstream's latency, in milliseconds.
local function call(client, added)
  local began = core.clock()
  local report, failure = client:sync()
  added[#added + 1] = (core.clock() - began - latency) * 1000
  if not report then
    ngx.log(ngx.ERR, tostring(failure))
    added.failed = (added.failed or 0) + 1
  end
end

local function in_light_threads(count, action)
  local threads = {}
  for index = 1, count do
    threads[index] = ngx.thread.spawn(action)
  end
  for _, thread in ipairs(threads) do
    ngx.thread.wait(thread)
  end
end

-- luacheck: globals bench
bench = {}

-- So many at a time, one after another, for so long. Prints how many there were, how many failed, the
-- processor's milliseconds for each, and the percentiles 50 and 100 of what was added to each.
function bench.calls()
  local concurrency, seconds = tonumber(ngx.var.arg_concurrency), tonumber(ngx.var.arg_seconds)
  local client, added = client_for(ngx.var.arg_port), {}
  call(client, {}) -- what is done once does not count
  local began, processor = core.clock(), os.clock()
  local function loop()
    repeat
      ngx.sleep(0.001) -- where calls block, others get at least this
      call(client, added)
    until core.clock() - began > seconds
  end
  if driver == "blocking" then
    loop()
  else
    in_light_threads(concurrency, loop)
  end
  processor = (os.clock() - processor) * 1000
  table.sort(added)
  ngx.say(
    ("%d %d %.3f %.3f %.3f"):format(
      #added,
      added.failed or 0,
      processor / #added,
      percentile(added, 0.5),
      percentile(added, 1)
    )
  )
end

-- Processor time of the event loop's own thread, in milliseconds: what others do to the machine does not
-- count, nor what the helper thread does.
local function processor_of_loop()
  return tonumber(read_file("/proc/thread-self/schedstat"):match "%d+") / 1e6
end

-- Notes the most that the event loop works between two looks, which are a millisecond apart or, when it
-- does not come to that, a step.
local function watch_steps(watch)
  local last = processor_of_loop()
  repeat
    ngx.sleep(0.001)
    local now = processor_of_loop()
    watch.longest, last = math.max(watch.longest, now - last), now
  until watch.has_ended
end

local clients = {} -- by port: one burst finds the connections of the one before

-- Many at once. Prints the wall time in milliseconds, how many failed, the resident memory after it in KiB,
-- and the longest step of the event loop; the first time, a line with the memory before comes first.
function bench.burst()
  local count, port = tonumber(ngx.var.arg_count), ngx.var.arg_port
  if not clients[port] then
    clients[port] = client_for(port)
    call(clients[port], {})
    ngx.say("0 0 ", resident(), " 0")
  end
  local added, began, watch = {}, core.clock(), { longest = 0 }
  local watcher = ngx.thread.spawn(watch_steps, watch)
  in_light_threads(count, function()
    call(clients[port], added)
  end)
  local wall = (core.clock() - began) * 1000
  watch.has_ended = true
  ngx.thread.wait(watcher)
  ngx.say(("%.1f %d %d %.1f"):format(wall, added.failed or 0, resident(), watch.longest))
end
