-- Where the first addresses of a host are dead, a request gets through to the next, as curl's does, however
-- its transfers are waited for.

local hostile = require "support.hostile_server"
local nginx_world = require "support.nginx_world"
local openresty_world = require "support.openresty_world"
local preloaded = require "support.preloaded"
local slow_dns = require "support.slow_dns"
local wire = require "support.wire"

local host = "graph.example.test"

--- Fails unless the host is reached: with more time, if the machine was too slow for the last address.
---@param ask fun(seconds: number): string how the attempt ended
local function assert_reached(expected, ask)
  local ended
  -- Half of the time is for the first address, half of the rest for the second. Some libcurls (8.5 to 8.14) do not
  -- divide 0.6 s and less.
  for _, seconds in ipairs { 1.5, 12 } do
    ended = ask(seconds * hostile.patience)
    if ended:find(expected) then
      return
    end
  end
  assert.matches(expected, ended)
end

local program = [[
local autopilot = require "autopilot"
local way, url, ca_file, seconds = ...
local options = {
  token = "secret",
  base_url = url,
  http = { ca_file = ca_file, proxy = "" },
  timeout = { connect = tonumber(seconds), total = 10 * seconds },
  retry = false,
  recover = false,
}
if way == "fleet" then
  for _, report in autopilot.fleet({ tenants = { "one" }, client = options }):run() do
    print(report)
  end
else
  local report, failure = autopilot.client(options):sync()
  print(report or failure)
end
]]

-- Meanwhile many sockets always have something to read, so that no step handles all of them.
local busy_program = [[
local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local url, ca_file, seconds = ...
local busy = hostile.listen(function(connection)
  connection:send("HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n")
  while true do
    connection:send(("x"):rep(1000))
    connection:wait()
  end
end)
local set = core.transfer_set()
local function add(target)
  local request = core.request {
    method = "GET", url = target, ca_file = ca_file, proxy = "", max_body = 1e9,
  }
  return set:add(request, { connect = tonumber(seconds), total = 10 * seconds })
end
for _ = 1, 40 do
  add(busy:url())
end
hostile.until_true(function()
  return #busy.connections == 40
end, function()
  set:step(0.001)
end)
local transfer = add(url)
hostile.wait(set, transfer)
local response, network = transfer:result()
print(response and response.status or network.name)
]]

--- Closed with all hostile servers.
local function kill_addresses(count, port)
  for number = 2, 1 + count do
    hostile.black_hole("127.0.0." .. number, port)
  end
end

describe("a host whose first addresses are dead", function()
  local names

  after_each(function()
    names:remove()
    wire.close()
  end)
  teardown(wire.teardown)

  it("is reached though others always have something to read", function()
    names = slow_dns.new(1)
    names:open()
    local server = hostile.listen(wire.tls(wire.serves()))
    kill_addresses(1, server.port)
    local url, ca_file = server:url("", "https", host), wire.certificates().ca
    assert_reached("^204\n$", function(seconds)
      return preloaded.run(names.environment, busy_program, url, ca_file, 2 * seconds)
    end)
  end)

  for _, count in ipairs { 1, 2 } do
    for _, way in ipairs { "client", "fleet" } do
      it(("is reached by a %s: %d dead"):format(way, count), function()
        names = slow_dns.new(count)
        names:open()
        local server = hostile.listen(wire.tls(wire.serves()))
        kill_addresses(count, server.port)
        local url, ca_file = server:url("", "https", host), wire.certificates().ca
        assert_reached("started", function(seconds)
          return preloaded.run(names.environment, program, way, url, ca_file, seconds)
        end)
      end)
    end

    for _, driver in ipairs { "thread", "polling" } do
      it(("is reached in nginx with the driver %s: %d dead"):format(driver, count), function()
        local obstacle = nginx_world.obstacle()
        if obstacle then
          names = slow_dns.new()
          return pending(obstacle)
        end
        names = slow_dns.new(count)
        names:open()
        local world = openresty_world.start { driver = driver, environment = names.environment }
        finally(function()
          world:stop()
        end)
        kill_addresses(count, world.upstream.port)
        local query = "token=answer-0&total=%s&url=https://%s:%d"
        assert_reached("started", function(seconds)
          return world:run("one", query:format(seconds, host, world.upstream.port)).outcome
        end)
        assert.same({}, world.server:complaints())
      end)
    end
  end
end)
