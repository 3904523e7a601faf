-- The service's clock as far as its Date headers tell: a range, that never claims too much.

local ServiceClock = require "autopilot.service_clock"

-- What a clock may gain or lose while nobody looks is far less than this in these specs.
local nearly = 0.01

describe("autopilot.service_clock", function()
  it("takes the clocks to agree as long as no answer has told otherwise", function()
    local clock = ServiceClock.new()
    assert.same({ 1000, 1000 }, { clock:to_service(1000) })
    assert.same({ 1000, 1000 }, { clock:to_client(1000) })
  end)

  it("knows from an answer what the whole seconds of Date and its travel leave open", function()
    local clock = ServiceClock.new()
    -- Made between 100 and 100.4 of ours, in the service's second from 500 to 501.
    clock:observe(500, 100, 100.4)
    local earliest, latest = clock:to_service(100)
    assert.near(499.6, earliest, nearly)
    assert.near(501, latest, nearly)
    earliest, latest = clock:to_client(500)
    assert.near(99, earliest, nearly)
    assert.near(100.4, latest, nearly)
  end)

  it("never excludes the truth, and learns from every answer", function()
    for _, ahead in ipairs { 0, 0.3, -0.7, 7200.123, -1e6 } do
      local clock = ServiceClock.new()
      local width = math.huge
      for index = 0, 50 do
        local sent = 1000 + index * 3.37
        local made = sent + (index % 4) * 0.05
        local received = made + (index % 3) * 0.1
        clock:observe(math.floor(made + ahead), sent, received)
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
    local clock = ServiceClock.new()
    clock:observe(500, 100, 100.2)
    clock:observe(9000, 101, 101.2)
    local earliest, latest = clock:to_service(101.2)
    assert.is_true(earliest <= 9001 and latest >= 9000)
    assert.is_true(latest - earliest < 2)
  end)
end)
