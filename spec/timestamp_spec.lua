local core = require "autopilot.core"

describe("autopilot.core.timestamp", function()
  it("reads the moments that Graph sends, with their fractions", function()
    assert.equal(1784805795.0768271, core.timestamp "2026-07-23T11:23:15.0768271Z")
    assert.equal(1784805794.5754524, core.timestamp "2026-07-23T11:23:14.5754524Z")
    assert.equal(1784805795, core.timestamp "2026-07-23T11:23:15Z")
  end)

  it("reads offsets of either sign as the same moment", function()
    assert.equal(1784805795.0768271, core.timestamp "2026-07-23T03:23:15.0768271-08:00")
    assert.equal(1784805795, core.timestamp "2026-07-23T16:53:15+05:30")
    assert.equal(1784805795, core.timestamp "2026-07-23T11:23:15-00:00")
  end)

  it("reads small letters, leap seconds and fractions of any length", function()
    assert.equal(1784805795, core.timestamp "2026-07-23t11:23:15z")
    assert.equal(1483228800, core.timestamp "2016-12-31T23:59:60Z")
    assert.equal(0.5, core.timestamp("1970-01-01T00:00:00.5" .. ("0"):rep(1000) .. "Z"))
  end)

  it("reads the first moment of year 1 as that moment, a negative number", function()
    assert.equal(-62135596800, core.timestamp "0001-01-01T00:00:00Z")
  end)

  it("keeps the order of moments a microsecond apart", function()
    local earlier = core.timestamp "2026-07-23T11:23:15.0768271Z"
    local later = core.timestamp "2026-07-23T11:23:15.0768281Z"
    assert.is_true(earlier < later)
  end)

  it("answers nil for text that names no moment", function()
    for _, text in ipairs {
      "",
      "2026-02-01T10:00:00",
      "2026-02-01",
      "2026-02-01T10:00Z",
      "2026-02-01 10:00:00Z",
      "2026-02-01T10:00:00,5Z",
      "2026-02-01T10:00:00.Z",
      "2026-02-01T10:00:00+0100",
      "2026-02-01T10:00:00+24:00",
      "2026-02-01T24:00:00Z",
      "2026-02-29T10:00:00Z",
      "2026-13-01T10:00:00Z",
      " 2026-02-01T10:00:00Z",
      "2026-02-01T10:00:00Z\n",
      "2026-02-01T10:00:00Z\0",
      "\0",
      "1784805795",
      "never",
    } do
      assert.is_nil((core.timestamp(text)), text)
    end
  end)

  it("returns exactly one value", function()
    assert.equal(1, select("#", core.timestamp "never"))
    assert.equal(1, select("#", core.timestamp "2026-07-23T11:23:15Z"))
  end)

  it("raises for what is no string, a number too", function()
    for _, text in ipairs { 1784805795, true, {} } do
      assert.has_error(function()
        core.timestamp(text)
      end)
    end
    assert.has_error(function()
      core.timestamp()
    end)
  end)
end)
