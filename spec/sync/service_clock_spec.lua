-- The service's clock as far as its Date headers tell: a range, that never claims too much.

local ServiceClock = require "autopilot.sync.service_clock"

-- What a clock may gain or lose while nobody looks is far less than this in these specs.
local nearly = 0.01

--- One for clocks of which the monotonic shows 7 when the other shows 100.
local function new()
  return ServiceClock.new {
    now = function()
      return 100
    end,
    clock = function()
      return 7
    end,
  }
end

describe("autopilot.sync.service_clock", function()
  it("takes the clocks to agree as long as no answer has told otherwise", function()
    local clock = new()
    assert.same({ 1000, 1000 }, { clock:to_service(1000) })
    assert.same({ 1000, 1000 }, { clock:to_client(1000) })
  end)

  it("takes what they show now to agree, where ours was set since a moment", function()
    local clock = new()
    assert.same({ 98, 98 }, { clock:to_service(3698, 5) })
    assert.same({ 98, 98 }, { clock:to_service(98, 5) })
  end)

  it("knows from an answer what the whole seconds of Date and its travel leave open", function()
    local clock = new()
    -- Made between 100 and 100.4 of ours, in the service's second from 500 to 501.
    clock:observe(500, 0.4, 100.4, 7.4)
    local earliest, latest = clock:to_service(100)
    assert.near(499.6, earliest, nearly)
    assert.near(501, latest, nearly)
    earliest, latest = clock:to_client(500)
    assert.near(99, earliest, nearly)
    assert.near(100.4, latest, nearly)
  end)

  it("never excludes the truth, and learns from every answer", function()
    for _, ahead in ipairs { 0, 0.3, -0.7, 7200.123, -1e6 } do
      local clock = new()
      local width = math.huge
      for index = 0, 50 do
        local sent = 1000 + index * 3.37
        local made = sent + (index % 4) * 0.05
        local received = made + (index % 3) * 0.1
        clock:observe(math.floor(made + ahead), received - sent, received, received - 900)
        local earliest, latest = clock:to_service(received)
        assert.is_true(earliest <= received + ahead + 1e-6)
        assert.is_true(latest >= received + ahead - 1e-6)
        assert.is_true(latest - earliest <= width + nearly)
        width = latest - earliest
        earliest, latest = clock:to_client(received + ahead)
        assert.is_true(earliest <= received + 1e-6 and latest >= received - 1e-6)
      end
      assert.is_true(width < 0.4)
    end
  end)

  it("believes the newest answer when a clock was set", function()
    local clock = new()
    clock:observe(500, 0.2, 100.2, 7.2)
    clock:observe(9000, 0.2, 101.2, 8.2)
    local earliest, latest = clock:to_service(101.2)
    assert.is_true(earliest <= 9001 and latest >= 9000)
    assert.is_true(latest - earliest < 2)
  end)

  it(
    "translates a moment from before our clock was set, where the monotonic clock noted it too",
    function()
      for _, step in ipairs { 3600, -3600 } do
        local clock = new()
        clock:observe(500, 0, 100, 7)
        clock:observe(502, 0, 102 + step, 9)
        local earliest, latest = clock:to_service(101, 8)
        assert.near(501, earliest, nearly)
        assert.near(502, latest, nearly)
      end
    end
  )

  it("translates a moment from before the first answer, whatever our clock showed then", function()
    local clock = new()
    clock:observe(500, 0, 3700, 7)
    local earliest, latest = clock:to_service(99, 6)
    assert.near(499, earliest, nearly)
    assert.near(500, latest, nearly)
  end)

  it(
    "takes a request's time from the monotonic clock: ours may be set while it is under way",
    function()
      for _, step in ipairs { 3600, -3600 } do
        local clock = new()
        clock:observe(500, 0, 100, 7)
        local earliest, latest = clock:observe(510, 2, 112 + step, 19)
        assert.near(510, earliest, nearly)
        assert.near(513, latest, nearly)
      end
    end
  )

  it("takes a Unix time that somebody told for one from before our clock was set", function()
    local clock = new()
    clock:observe(500, 0, 100, 7)
    clock:observe(502, 0, 3702, 9)
    local earliest = clock:to_service(1000, 9 - 2702, true)
    assert.near(502, earliest, nearly)
  end)
end)
