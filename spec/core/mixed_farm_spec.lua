-- If some nodes of a host speak HTTP/2 and others HTTP/1.1, or some clients do, no answer becomes another
-- tenant's report: no request goes out on an HTTP/1.1 connection on which another one awaits its answer.

local autopilot = require "autopilot"
local cjson = require "cjson.safe"
local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local libcurl = require "support.libcurl"
local mixed_farm = require "support.mixed_farm"
local nginx_world = require "support.nginx_world"
local openresty_world = require "support.openresty_world"
local preloaded = require "support.preloaded"
local socket = require "socket"
local wire = require "support.wire"

local describe_http2 = core.info().http2 and describe or pending

--- Runs a fleet of `count` tenants, `concurrency` at a time; the names of those whose reports are wrong or
-- tell of no answer.
local function run_fleet(farm, kind, count, concurrency)
  local number = 0
  local fleet = autopilot.fleet {
    tenants = mixed_farm.tenants(count),
    concurrency = concurrency,
    client = function(tenant)
      number = number + 1
      return {
        token = "token-of-" .. tenant,
        base_url = farm.server:url("", "https"),
        http = {
          ca_file = wire.certificates().ca,
          version = kind == "clients" and (number % 3 == 0 and "1.1" or "2") or nil,
        },
        -- All of it happens in this process, which a busy machine lets run for a part of the time.
        timeout = { connect = 60 * hostile.patience, total = 60 * hostile.patience },
        retry = false,
        recover = false,
      }
    end,
    wait = function(set)
      hostile.step()
      set:step(0.001)
    end,
  }
  local wrong = {}
  for tenant, report in fleet:run() do
    if not mixed_farm.is_right(tenant, report) then
      wrong[#wrong + 1] = tostring(report)
    end
  end
  fleet:close()
  assert.equal(count, fleet.summary.total)
  return wrong
end

--- The same for light threads of one nginx worker, all at once.
local function run_nginx(world, farm, kind, count)
  local query = ("count=%d&url=%s&ca_file=%s"):format(
    count,
    farm.server:url("", "https"),
    wire.certificates().ca
  )
  local call = world:begin("tenants", query .. (kind == "clients" and "&versions=both" or ""))
  hostile.until_true(function()
    return #socket.select({ call.connection }, nil, 0) > 0
  end)
  local answers, wrong = assert(cjson.decode(call:answer().body)), {}
  for index, tenant in ipairs(mixed_farm.tenants(count)) do
    if not mixed_farm.is_right(tenant, answers[index]) then
      wrong[#wrong + 1] = tenant .. ": " .. cjson.encode(answers[index])
    end
  end
  return wrong
end

-- libcurl 8.5 and later do not need to be kept from sharing a connection. An older one says it is such.
local pretence = [[
#include <curl/curl.h>

curl_version_info_data *curl_version_info(CURLversion version) {
    static curl_version_info_data told;
    told = *((__typeof__(curl_version_info) *)of_libcurl("curl_version_info"))(version);
    told.version_num = told.version_num < 0x080500 ? 0x080500 : told.version_num;
    return &told;
}
]]

local program = [[
local autopilot = require "autopilot"
local mixed_farm = require "support.mixed_farm"
local url, ca_file = ...
local patience = tonumber(os.getenv "SPEC_PATIENCE") or 1
local timeout = { connect = 10 * patience, total = 60 * patience }
local fleet = autopilot.fleet {
  tenants = mixed_farm.tenants(300),
  concurrency = 150,
  client = function(tenant)
    local http = { ca_file = ca_file, proxy = "" }
    return {
      token = tenant,
      base_url = url,
      http = http,
      timeout = timeout,
      retry = false,
      recover = false,
    }
  end,
}
for tenant, report in fleet:run() do
  local is_right = mixed_farm.is_right(tenant, report)
  print(is_right and "right" or report.outcome .. " " .. report.delivered)
end
]]

for _, kind in ipairs { "nodes", "clients" } do
  describe_http2(("where some %s lack HTTP/2"):format(kind), function()
    after_each(wire.close)
    teardown(wire.teardown)

    local function assert_fair(farm, wrong)
      assert.same({}, wrong)
      assert.equal(0, farm.shared)
      assert.is_true(farm.http1 > 0 and farm.http2 > 0)
    end

    it("each tenant of a fleet has its own answer", function()
      local farm = mixed_farm.start(kind)
      assert_fair(farm, run_fleet(farm, kind, 600, 150))
    end)

    for _, driver in ipairs { "thread", "polling" } do
      it(("each call in nginx has its own answer, with the driver %s"):format(driver), function()
        local obstacle = nginx_world.obstacle()
        if obstacle then
          return pending(obstacle)
        end
        local world = openresty_world.start { driver = driver }
        finally(function()
          world:stop()
        end)
        local farm = mixed_farm.start(kind)
        for _ = 1, 2 do
          assert_fair(farm, run_nginx(world, farm, kind, 150))
        end
        assert.same({}, world.server:complaints())
      end)
    end
  end)
end

describe_http2("where libcurl has sent two requests over one HTTP/1.1 connection", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("neither of two requests on one connection has an answer", function()
    local folder, library = preloaded.build(pretence)
    finally(function()
      preloaded.remove(folder)
    end)
    local farm = mixed_farm.start "nodes"
    local url, ca_file = farm.server:url("", "https"), wire.certificates().ca
    local output = preloaded.run({ LD_PRELOAD = library }, program, url, ca_file)
    local count = { right = 0, ["interrupted unknown"] = 0 }
    for line in output:gmatch "[^\n]+" do
      count[line] = (count[line] or -1000) + 1
    end
    assert.equal(300, count.right + count["interrupted unknown"], output)
    assert.equal(not libcurl.is_between "8.5", count["interrupted unknown"] > 0)
  end)
end)

-- Makes every transfer share one connection, and lets no read come back without data: then a request may be
-- answered in the same call of libcurl in which the one before it has ended.
local one_connection = [[
#include <curl/curl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#undef curl_multi_setopt

CURLMcode curl_multi_setopt(CURLM *multi, CURLMoption option, ...) {
    va_list list;
    va_start(list, option);
    void *value = va_arg(list, void *);
    va_end(list);
    value = option == CURLMOPT_MAX_TOTAL_CONNECTIONS ? (void *)1L : value;
    return ((__typeof__(curl_multi_setopt) *)of_libcurl("curl_multi_setopt"))(multi, option, value);
}

ssize_t recv(int socket, void *memory, size_t room, int flags) {
    struct pollfd asked = {.fd = socket, .events = POLLIN};
    poll(&asked, 1, 200);
    return ((ssize_t(*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv"))(socket, memory, room,
                                                                            flags);
}
ssize_t __recv_chk(int socket, void *memory, size_t room, size_t size, int flags) {
    return recv(socket, memory, room, flags);
}
]]

local one_after_another = [[
local core = require "autopilot.core"
local set = core.transfer_set { concurrency = 10 }
local request = core.request { method = "GET", url = (...) }
local left = {}
for index = 1, 10 do
  left[index] = set:add(request, { connect = 30, total = 30 })
end
while set:step(1) > 0 do
end
for _, transfer in ipairs(left) do
  local response, network = transfer:result()
  print(response and response.status or network.message)
end
]]

describe("a connection over which requests are sent one after another", function()
  after_each(wire.close)

  it("gives each its answer, even before the previous one is taken", function()
    local folder, library = preloaded.build(one_connection)
    finally(function()
      preloaded.remove(folder)
    end)
    local server = hostile.listen(wire.serves "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    local output = preloaded.run({ LD_PRELOAD = library }, one_after_another, server:url())
    assert.equal(("200\n"):rep(10), output)
    if not libcurl.is_between("8.10", "8.13") then -- those may open more connections than the limit
      assert.equal(1, #server.connections)
    end
  end)
end)
