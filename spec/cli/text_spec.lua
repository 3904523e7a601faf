local options = require "autopilot.cli.options"
local text = require "autopilot.cli.text"

describe("a TIME on the command line", function()
  local now = 1767225600.25

  it("is Unix seconds, ISO 8601, now, or a time ago", function()
    assert.equal(1767225000, text.read_time("1767225000", now))
    assert.equal(1767225000.5, text.read_time("1767225000.5", now))
    assert.equal(1767225600, text.read_time("2026-01-01T00:00:00Z", now))
    assert.equal(1767225600, text.read_time("2025-12-31T16:00:00-08:00", now))
    assert.equal(now, text.read_time("now", now))
    assert.equal(now - 90, text.read_time("-90s", now))
    assert.equal(now - 600, text.read_time("-10m", now))
    assert.equal(now - 7200, text.read_time("-2h", now))
    assert.equal(now - 86400, text.read_time("-1d", now))
  end)

  it("has no other form", function()
    local wrong =
      "tomorrow -10 10m +10m -10w --10m 0x10 1e9 inf nan - 2026-01-01 2026-01-01T00:00:00"
    for typed in wrong:gmatch "%S+" do
      assert.is_nil(text.read_time(typed, now), typed)
    end
    assert.is_nil(text.read_time("", now))
    assert.is_nil(text.read_time(" now", now))
    assert.is_nil(text.read_time(("9"):rep(400), now))
    assert.is_nil(text.read_time("-" .. ("9"):rep(400) .. "d", now))
  end)

  it("has its error explained without control characters", function()
    local value, complaint = options.time "--since"("to\27[2Jmorrow")
    assert.is_nil(value)
    assert.matches(
      "^option '%-%-since' must be Unix seconds, .* %(got 'to%?%[2Jmorrow'%)$",
      complaint
    )
  end)
end)

describe("durations for people", function()
  it("have two units at most, and no unit with zero", function()
    for seconds, expected in pairs {
      [0] = "0 s",
      [0.99] = "0 s",
      [59.9] = "59 s",
      [60] = "1 min",
      [243] = "4 min 3 s",
      [3600] = "1 h",
      [3601] = "1 h",
      [3725] = "1 h 2 min",
      [86400] = "1 d",
      [273600] = "3 d 4 h",
      [86460] = "1 d",
    } do
      assert.equal(expected, text.duration(seconds))
    end
  end)
end)

describe("moments for people", function()
  it("are ISO 8601 in UTC, whole seconds, never later than the moment", function()
    assert.equal("2026-01-01T00:00:00Z", text.time(1767225600 + 0.999))
    if pcall(os.date, "!%Y", 253402300799) then -- not with 32 bits
      assert.equal("9999-12-31T23:59:59Z", text.time(253402300799))
    end
  end)

  it("are Unix seconds if the system has no date for them", function()
    assert.equal("100000000000000000000", text.time(1e20))
  end)

  it("are Unix seconds if the system gives another date for them", function()
    local date = os.date
    rawset(os, "date", function(form)
      return date(form, -2 ^ 31) -- as before Lua 5.3, where a time has 32 bits
    end)
    local shown = text.time(4e9)
    rawset(os, "date", date)
    assert.equal("4000000000", shown)
  end)
end)

describe("counts for people", function()
  it("group digits by three", function()
    local counts = { { 0, "0" }, { 999, "999" }, { 1000, "1,000" }, { 1234567, "1,234,567" } }
    for _, count in ipairs(counts) do
      assert.equal(count[2], text.count(count[1]))
    end
  end)
end)
