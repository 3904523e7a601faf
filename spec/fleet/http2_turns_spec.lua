-- Over HTTP/2 an answer may be read from the socket while another transfer is processed. It is returned
-- nevertheless, although neither the socket nor a timer reports it again.

local autopilot = require "autopilot"
local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local http2 = require "support.http2_frames"
local socket = require "socket"
local wire = require "support.wire"

local describe_http2 = core.info().http2 and describe or pending

local concurrency, tenant_count = 40, 200

-- More turns than any run here takes between two events.
local most_idle_turns = 2000

--- A server that answers half of the streams when all are there, and the others when the client has
-- begun with new ones but not sent them: both meet in one step of the client.
local function server_in_halves()
  local self = { held = {} }
  self.server = hostile.listen(wire.http2(function(session)
    while true do
      local stream = session:read_request()
      table.insert(self.held, { session = session, stream = stream })
    end
  end))
  function self.answer_half()
    for _ = 1, math.min(#self.held, concurrency / 2) do
      local one = table.remove(self.held, 1)
      one.session:headers(one.stream, { { ":status", 204 } }, true)
    end
  end
  return self
end

describe_http2("answers over HTTP/2 that come while other requests begin", function()
  after_each(wire.close)
  teardown(wire.teardown)

  for _, operation in ipairs { "sync", "status" } do
    it(("are all handed out: %s"):format(operation), function()
      local server, begun, idle_turns, has_answered = server_in_halves(), 0, 0, false
      local fleet = autopilot.fleet {
        tenants = function()
          begun = begun + 1
          return begun <= tenant_count and "tenant-" .. begun or nil
        end,
        client = function()
          return {
            token = ("t"):rep(1500),
            base_url = server.server:url("", "https"),
            http = { ca_file = wire.certificates().ca, version = "2" },
            retry = false,
          }
        end,
        operation = operation,
        concurrency = concurrency,
        -- Steps only when there is something to do, as an event loop does.
        wait = function(set)
          hostile.step()
          local is_full = #server.held == concurrency
          if is_full or has_answered or begun > tenant_count then
            server.answer_half()
            has_answered = is_full
            hostile.step()
          end
          if set:is_due() then
            idle_turns = 0
            set:step(0)
          else
            idle_turns = idle_turns + 1
            assert(idle_turns < most_idle_turns, "answers were read and not handed out")
          end
        end,
      }
      local answered = 0
      for _, report in fleet:run() do
        answered = answered + (report.status == 204 and 1 or 0)
      end
      assert.are.equal(tenant_count, answered)
    end)
  end
end)

-- After so long a check of all transfers is due.
local seconds_until_check = 0.11

describe_http2(
  "requests over HTTP/2 that are refused when libcurl looks at all transfers",
  function()
    after_each(wire.close)
    teardown(wire.teardown)

    -- libcurl 7.88.1 may then forget one that waits for another connection until its time is over.
    local names, seconds = {}, 20 * hostile.patience
    for number = 1, tenant_count do
      names[number] = "tenant-" .. number
    end

    local function outcomes_from(server)
      local fleet = autopilot.fleet {
        tenants = names,
        client = {
          token = function(ask)
            return "token-of-" .. ask.tenant
          end,
          base_url = server:url("", "https"),
          http = { ca_file = wire.certificates().ca, version = "2" },
          timeout = { connect = seconds, total = seconds },
          retry = false,
          recover = false,
        },
        concurrency = 100,
        wait = function(set)
          hostile.step()
          socket.sleep(seconds_until_check)
          set:step(0.001)
        end,
      }
      local outcomes = {}
      for _, report in fleet:run() do
        outcomes[report.outcome] = (outcomes[report.outcome] or 0) + 1
      end
      fleet:close()
      return outcomes
    end

    it("are all sent again", function()
      for _ = 1, 3 do -- some of them would be forgotten in one run of three
        local seen = 0
        local server = hostile.listen(wire.http2(function(session)
          while true do
            local stream = session:read_request()
            seen = seen + 1
            if seen % 5 == 0 and seen <= 150 then
              session:reset_stream(stream, http2.REFUSED_STREAM)
            else
              session:headers(stream, { { ":status", 204 } }, true)
            end
          end
        end))
        assert.same({ started = tenant_count }, outcomes_from(server))
        assert.equal(tenant_count + 30, seen)
      end
    end)
  end
)

describe_http2("answers over HTTP/2 that come when libcurl is to look at all transfers", function()
  after_each(wire.close)
  teardown(wire.teardown)

  -- As it is while a transfer has no connection. libcurl before 8.18 may forget then that a transfer is to be
  -- called again, and would call it only when the time to connect is over.
  it("are all handed out", function()
    local rounds, at_once = 10, 8
    local requests, limit = {}, 100 * hostile.patience
    local server = hostile.listen(wire.http2(function(session)
      while true do
        local stream = session:read_request()
        table.insert(requests, { session = session, stream = stream })
      end
    end))
    local set = core.transfer_set { concurrency = at_once }
    local request = core.request {
      method = "POST",
      url = server:url("", "https"),
      ca_file = wire.certificates().ca,
      version = "2",
    }
    local function step()
      set:step(0.001)
    end
    for _ = 1, rounds do
      for _ = 1, at_once do
        set:add(request, { connect = limit, total = limit })
      end
      hostile.until_true(function()
        return #requests == at_once
      end, step)
      socket.sleep(seconds_until_check)
      for _, one in ipairs(requests) do
        one.session:headers(one.stream, { { ":status", 204 } }, true)
      end
      requests = {}
      local answered = 0
      hostile.until_true(function()
        while set:take() do
          answered = answered + 1
        end
        return answered == at_once
      end, step)
    end
    set:close()
  end)
end)
