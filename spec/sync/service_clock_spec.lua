-- The clocks of a client: the service's as far as its Date headers tell, a range that never claims too much; and
-- Unix time, which may be set.

local ServiceClock = require "autopilot.sync.service_clock"

-- A clock's drift is far less than this in these specs.
local nearly = 0.01

--- One for a steady clock that shows 7 when Unix time is 100; and what the two show, which can be changed.
local function new()
  local shown = { unix = 100, steady = 7 }
  return ServiceClock.new {
    now = function()
      return shown.unix
    end,
    clock = function()
      return shown.steady
    end,
  },
    shown
end

describe("autopilot.sync.service_clock", function()
  it(
    "takes the service's clock to agree with Unix time as long as no answer has told otherwise",
    function()
      local clock, shown = new()
      assert.same({ 1000, 1000 }, { clock:to_service(907) })
      assert.same({ 907, 907 }, { clock:of_service(1000) })
      shown.unix = 3700
      assert.same({ 3698, 3698 }, { clock:to_service(5) })
    end
  )

  it("gives the range that the whole seconds of Date and the answer's travel leave", function()
    local clock = new()
    -- Made between 7 and 7.4 of ours, in the service's second from 500 to 501.
    clock:observe(500, 0.4, 7.4)
    local earliest, latest = clock:to_service(7)
    assert.near(499.6, earliest, nearly)
    assert.near(501, latest, nearly)
    earliest, latest = clock:of_service(500)
    assert.near(6, earliest, nearly)
    assert.near(7.4, latest, nearly)
  end)

  it("always includes the truth, and narrows with every answer", function()
    for _, ahead in ipairs { 0, 0.3, -0.7, 7200.123, -1e6 } do
      local clock = new()
      local width = math.huge
      for index = 0, 50 do
        local sent = 1000 + index * 3.37
        local made = sent + (index % 4) * 0.05
        local received = made + (index % 3) * 0.1
        clock:observe(math.floor(made + ahead), received - sent, received)
        local earliest, latest = clock:to_service(received)
        assert.is_true(earliest <= received + ahead + 1e-6)
        assert.is_true(latest >= received + ahead - 1e-6)
        assert.is_true(latest - earliest <= width + nearly)
        width = latest - earliest
        earliest, latest = clock:of_service(received + ahead)
        assert.is_true(earliest <= received + 1e-6 and latest >= received - 1e-6)
      end
      assert.is_true(width < 0.4)
    end
  end)

  it("gives the earliest and the latest time of a request's sending and answer", function()
    local clock = new()
    clock:observe(500, 0, 7)
    local earliest, latest = clock:observe(510, 2, 19)
    assert.near(510, earliest, nearly)
    assert.near(513, latest, nearly)
  end)

  it("trusts the newest answer when the service's clock was set", function()
    local clock = new()
    clock:observe(500, 0.2, 7.2)
    clock:observe(9000, 0.2, 8.2)
    local earliest, latest = clock:to_service(8.2)
    assert.is_true(earliest <= 9001 and latest >= 9000)
    assert.is_true(latest - earliest < 2)
  end)

  it("translates a time from before the first answer, for any Unix time then", function()
    local clock, shown = new()
    shown.unix = 3700
    clock:observe(500, 0, 7)
    local earliest, latest = clock:to_service(6)
    assert.near(499, earliest, nearly)
    assert.near(500, latest, nearly)
  end)
end)

describe("Unix time", function()
  it("is read and written as it is set now", function()
    local clock, shown = new()
    assert.equal(103, clock:to_unix(10))
    assert.same({ 2, 2 }, { clock:of_unix(95) })
    shown.unix = 1100
    assert.equal(1103, clock:to_unix(10))
  end)

  it("may be from before the clock was set: then both times are possible", function()
    for _, step in ipairs { 3600, -3600 } do
      local clock, shown = new()
      shown.unix, shown.steady = 150 + step, 57
      local first, second = 120 - 93 - step, 120 - 93
      if step > 0 then
        assert.same({ first, second }, { clock:of_unix(120) })
      else -- no moment is later than the setting, which was noticed now
        assert.same({ first, first }, { clock:of_unix(120) })
      end
    end
  end)

  it("is certain again for a time from after that", function()
    local clock, shown = new()
    shown.unix, shown.steady = 3750, 57
    assert.same({ 7, 57 }, { clock:of_unix(3700) })
    shown.unix, shown.steady = 3760, 67
    assert.same({ 62, 62 }, { clock:of_unix(3755) })
  end)
end)
