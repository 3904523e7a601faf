-- A fleet over real sockets and HTTP/2: hundreds of streams share few connections, and whatever happens
-- to a connection, every report is true of what the server saw.

local autopilot = require "autopilot"
local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local http2 = require "support.http2_frames"
local overlay = require "support.overlay"
local wire = require "support.wire"

local describe_http2 = core.info().http2 and describe or pending

local function names(count)
  local list = {}
  for index = 1, count do
    list[index] = "tenant-" .. index
  end
  return list
end

local function fleet_of(server, given)
  local options = {
    client = function(tenant)
      return {
        token = "token-of-" .. tenant,
        base_url = server:url("", "https"),
        http = { ca_file = wire.certificates().ca, version = "2" },
        timeout = { connect = 3 * hostile.patience, total = 3 * hostile.patience },
        retry = false,
        recover = false,
      }
    end,
    wait = function(set)
      hostile.step()
      set:step(0.001)
    end,
  }
  overlay(options, given)
  return autopilot.fleet(options)
end

local function run(fleet)
  local reports, sends = {}, 0
  for tenant, report in fleet:run() do
    assert.is_nil(reports[tenant])
    reports[tenant] = report
    sends = sends + report.attempts[1].sends
    assert.is_nil(tostring(report):find("token-of", 1, true))
  end
  hostile.settle()
  return reports, sends
end

local function count(reports, outcome)
  local number = 0
  for _, report in pairs(reports) do
    number = number + (report.outcome == outcome and 1 or 0)
  end
  return number
end

local function answer(session, stream)
  session:headers(stream, { { ":status", 204 } }, true)
end

--- Serves every request, but for what `odd(session, number, stream)` does with it itself.
local function serving(odd)
  local number = 0
  return hostile.listen(wire.http2(function(session, connection)
    while true do
      local stream = session:read_request()
      number = number + 1
      if not odd(session, number, stream, connection) then
        answer(session, stream)
      end
    end
  end))
end

describe_http2("a fleet over HTTP/2", function()
  after_each(wire.close)
  teardown(wire.teardown)

  --- A server that answers nothing before 150 requests are there, so that all are under way at once.
  local function gathering()
    local held = {}
    return serving(function(session, number, stream)
      held[#held + 1] = { session, stream }
      if number >= 150 then
        for _, one in ipairs(held) do
          answer(one[1], one[2])
        end
        held = {}
      end
      return true
    end)
  end

  it("sends hundreds of requests over as many connections as their streams need", function()
    local server = gathering()
    local reports, sends = run(fleet_of(server, { tenants = names(150), concurrency = 150 }))
    assert.are.equal(150, count(reports, "started"))
    assert.are.equal(150, sends)
    assert.are.equal(150, wire.seen(server))
    assert.are.equal(2, #server.connections)
  end)

  it("needs no more of them if a request to another host is sent over HTTP/1.1", function()
    local server, other = gathering(), hostile.listen(wire.serves "HTTP/1.1 204 No Content\r\n\r\n")
    local fleet = fleet_of(server, { tenants = names(151), concurrency = 151 })
    local client_of = fleet.options.client
    function fleet.options.client(tenant)
      local options = client_of(tenant)
      options.base_url = tenant == "tenant-1" and other:url() or options.base_url
      return options
    end
    assert.are.equal(151, count(run(fleet), "started"))
    assert.are.equal(1, #other.connections)
    assert.are.equal(2, #server.connections)
  end)

  it("reports the truth when the connection breaks under hundreds of streams", function()
    local server = serving(function(_, number, _, connection)
      if number == 60 then
        connection:reset()
      end
      return number >= 40 and number <= 60 -- the last twenty before it have no answer
    end)
    local reports, sends = run(fleet_of(server, { tenants = names(100), concurrency = 100 }))
    local seen = wire.seen(server)
    local total = 0
    for _, report in pairs(reports) do
      total = total + 1
      if report.outcome == "started" then
        assert.are.equal("yes", report.delivered)
      elseif report.outcome == "interrupted" then
        assert.are.equal("unknown", report.delivered)
        assert.is_true(report.attempts[1].sends >= 1)
      else
        assert.are.equal("unreachable", report.outcome)
        assert.are.equal("no", report.delivered)
        assert.are.equal(0, report.attempts[1].sends)
      end
    end
    assert.are.equal(100, total)
    assert.is_true(sends >= seen, sends .. " sends, " .. seen .. " seen")
    assert.is_true(count(reports, "interrupted") + sends - 100 > 0)
  end)

  it("reports the truth after GOAWAY: requests above its last stream were not processed", function()
    local gone = false
    local server = serving(function(session, number, stream)
      if number == 30 and not gone then
        gone = true
        session:go_away(stream, http2.NO_ERROR)
        answer(session, stream)
        return true
      end
    end)
    local reports, sends = run(fleet_of(server, { tenants = names(120), concurrency = 60 }))
    local started = count(reports, "started")
    for _, report in pairs(reports) do
      assert.is_true(report.ok or report.delivered ~= "yes")
    end
    assert.is_true(started >= 30)
    assert.is_true(sends >= wire.seen(server) or started == 120)
    assert.is_true(sends >= started)
  end)

  it("counts what libcurl sends again after REFUSED_STREAM", function()
    local refused = 0
    local server = serving(function(session, number, stream)
      if number % 5 == 0 and refused < 30 then
        refused = refused + 1
        session:reset_stream(stream, http2.REFUSED_STREAM)
        return true
      end
    end)
    local reports, sends = run(fleet_of(server, { tenants = names(200), concurrency = 100 }))
    assert.are.equal(wire.seen(server), sends)
    assert.are.equal(200 + refused, wire.seen(server))
    assert.are.equal(200, count(reports, "started"))
  end)

  it("gives every request its own answer", function()
    local server = hostile.listen(wire.http2(function(session)
      local waiting = {}
      while true do
        waiting[#waiting + 1] = session:read_request()
        if #waiting == 20 then
          for index = #waiting, 1, -1 do -- the last first
            local stream = waiting[index]
            session:headers(stream, { { ":status", 204 }, { "request-id", "of-" .. stream } }, true)
          end
          waiting = {}
        end
      end
    end))
    local reports = run(fleet_of(server, { tenants = names(60), concurrency = 20 }))
    local ids = {}
    for _, report in pairs(reports) do
      assert.is_nil(ids[report.request_id])
      ids[report.request_id] = true
    end
    assert.are.equal(60, count(reports, "started"))
  end)

  it("does not mix long answers of many streams", function()
    local server = hostile.listen(wire.http2(function(session)
      local waiting = {}
      while true do
        waiting[#waiting + 1] = session:read_request()
        if #waiting == 30 then
          for _, stream in ipairs(waiting) do
            session:headers(stream, { { ":status", 200 } })
          end
          -- All of them a piece at a time, so that they arrive interleaved.
          for piece = 1, 12 do
            for _, stream in ipairs(waiting) do
              local text = ('"%d-%d":"%s",'):format(stream, piece, ("x"):rep(3000))
              session:data(stream, piece == 1 and "{" .. text or text)
            end
          end
          for _, stream in ipairs(waiting) do
            local last = '"syncStatus":"completed","lastSyncDateTime":"0001-01-01T00:00:00Z"}'
            session:data(stream, last, true)
          end
          waiting = {}
        end
      end
    end))
    local fleet = fleet_of(server, { tenants = names(60), concurrency = 30, operation = "status" })
    local right = 0
    for _, report in fleet:run() do
      right = right + (report.ok and report.sync_status == "completed" and 1 or 0)
    end
    assert.are.equal(60, right)
  end)

  it(
    "is cancelled with hundreds of streams open: each is reported as what may have arrived",
    function()
      local fleet
      local server = serving(function(_, number)
        if number == 80 then
          fleet:cancel(0.05)
        end
        return true
      end)
      fleet = fleet_of(server, { tenants = names(300), concurrency = 80 })
      local reports, sends = run(fleet)
      assert.are.equal(80, count(reports, "interrupted"))
      assert.are.equal(80, sends)
      assert.are.equal(80, fleet.summary.total)
    end
  )
end)

describe("a fleet over HTTP/1.1", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("has a connection for each request that is under way", function()
    local server = hostile.listen(function(connection)
      connection:serve()
    end)
    local fleet = fleet_of(server, {
      tenants = names(90),
      concurrency = 30,
      client = function(tenant)
        return { token = "token-of-" .. tenant, base_url = server:url "", retry = false }
      end,
    })
    local reports, sends = run(fleet)
    assert.are.equal(90, count(reports, "started"))
    assert.are.equal(90, sends)
    assert.is_true(#server.connections > 5 and #server.connections <= 30, #server.connections)
  end)
end)
