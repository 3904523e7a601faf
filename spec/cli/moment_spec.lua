local moment = require "autopilot.cli.moment"

describe("a TIME on the command line", function()
  local now = 1767225600.25

  it("is Unix seconds, ISO 8601, now, or a time ago", function()
    assert.equal(1767225000, moment.parse("1767225000", now))
    assert.equal(1767225000.5, moment.parse("1767225000.5", now))
    assert.equal(1767225600, moment.parse("2026-01-01T00:00:00Z", now))
    assert.equal(1767225600, moment.parse("2025-12-31T16:00:00-08:00", now))
    assert.equal(now, moment.parse("now", now))
    assert.equal(now - 90, moment.parse("-90s", now))
    assert.equal(now - 600, moment.parse("-10m", now))
    assert.equal(now - 7200, moment.parse("-2h", now))
    assert.equal(now - 86400, moment.parse("-1d", now))
  end)

  it("is nothing else", function()
    local wrong =
      "tomorrow -10 10m +10m -10w --10m 0x10 1e9 inf nan - 2026-01-01 2026-01-01T00:00:00"
    for text in wrong:gmatch "%S+" do
      assert.is_nil(moment.parse(text, now), text)
    end
    assert.is_nil(moment.parse("", now))
    assert.is_nil(moment.parse(" now", now))
    assert.is_nil(moment.parse(("9"):rep(400), now))
    assert.is_nil(moment.parse("-" .. ("9"):rep(400) .. "d", now))
  end)

  it("is explained when it is wrong, without being obeyed by a terminal", function()
    local value, complaint = moment.converter "--since"("to\27[2Jmorrow")
    assert.is_nil(value)
    assert.matches(
      "^option '%-%-since' must be Unix seconds, .* %(got 'to%?%[2Jmorrow'%)$",
      complaint
    )
  end)
end)
