local dates = require "autopilot.base.dates"
local SeededRandom = require "support.seeded_random"

describe("autopilot.base.dates.read_timestamp", function()
  it("reads the moments that Graph sends, with their fractions", function()
    assert.equal(1784805795.0768271, dates.read_timestamp "2026-07-23T11:23:15.0768271Z")
    assert.equal(1784805794.5754524, dates.read_timestamp "2026-07-23T11:23:14.5754524Z")
    assert.equal(1784805795, dates.read_timestamp "2026-07-23T11:23:15Z")
  end)

  it("reads offsets of either sign as the same moment", function()
    assert.equal(1784805795.0768271, dates.read_timestamp "2026-07-23T03:23:15.0768271-08:00")
    assert.equal(1784805795, dates.read_timestamp "2026-07-23T16:53:15+05:30")
    assert.equal(1784805795, dates.read_timestamp "2026-07-23T11:23:15-00:00")
  end)

  it("reads the number that is nearest, also where a processor would round a sum twice", function()
    assert.equal(1271176910.43925488, dates.read_timestamp "2010-04-13T16:41:50.43925488Z")
    assert.equal(-1.5, dates.read_timestamp "1969-12-31T23:59:58.5Z")
  end)

  it("reads small letters, leap seconds and fractions of any length", function()
    assert.equal(1784805795, dates.read_timestamp "2026-07-23t11:23:15z")
    assert.equal(1483228800, dates.read_timestamp "2016-12-31T23:59:60Z")
    assert.equal(0.5, dates.read_timestamp("1970-01-01T00:00:00.5" .. ("0"):rep(1000) .. "Z"))
  end)

  it("reads the first moment of year 1 as that moment, a negative number", function()
    assert.equal(-62135596800, dates.read_timestamp "0001-01-01T00:00:00Z")
  end)

  it("keeps the order of moments a microsecond apart", function()
    local earlier = dates.read_timestamp "2026-07-23T11:23:15.0768271Z"
    local later = dates.read_timestamp "2026-07-23T11:23:15.0768281Z"
    assert.is_true(earlier < later)
  end)

  it("answers nil for text that is not a timestamp", function()
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
      assert.is_nil((dates.read_timestamp(text)), text)
    end
  end)

  it("returns exactly one value", function()
    assert.equal(1, select("#", dates.read_timestamp "never"))
    assert.equal(1, select("#", dates.read_timestamp "2026-07-23T11:23:15Z"))
  end)

  it("answers nil for anything but a string", function()
    for _, value in ipairs { 1784805795, true, {} } do
      assert.is_nil((dates.read_timestamp(value)))
    end
    assert.is_nil((dates.read_timestamp(nil)))
  end)
end)

describe("the readers of dates", function()
  local readers = {
    {
      read = dates.read_http_date,
      "Sun, 06 Nov 1994 08:49:37 GMT",
      "Sunday, 06-Nov-94 08:49:37 GMT",
      "Sun Nov  6 08:49:37 1994",
    },
    { read = dates.read_timestamp, "2026-07-23T11:23:15.0768271Z", "2026-07-23T03:23:15-08:00" },
    { read = dates.read_retry_after, "120, 2.5", "5, Thu, 23 Jul 2026 11:23:15 GMT" },
  }

  it("never raise and never return NaN, for any bytes", function()
    local random = SeededRandom.new "DATES_SEED"
    for round = 1, 20000 do
      local forms = readers[round % #readers + 1]
      local text = forms[random:integer(1, #forms)]
      for _ = 1, random:integer(1, 4) do
        local at = random:integer(1, #text + 1)
        local byte = string.char(random:integer(0, 255))
        text = text:sub(1, at - 1) .. byte .. text:sub(at + random:integer(0, 1))
      end
      local found = forms.read(text, 1784805795)
      assert(found == nil or found == found and math.abs(found) < 1e12, tostring(random))
    end
  end)

  it("need time in proportion to the text only", function()
    local blanks, digits = (" \t"):rep(50000), ("9"):rep(100000)
    for _, text in ipairs { blanks, digits, blanks .. "x" .. blanks, (","):rep(100000) .. "x" } do
      for _, forms in ipairs(readers) do
        local steps = 0
        debug.sethook(function()
          steps = steps + 1
        end, "", 1000)
        forms.read(text, 1784805795)
        debug.sethook()
        assert(steps < 3000, steps)
      end
    end
  end)
end)
