local core = require "autopilot.core"

local now = 1784805795 -- 23 July 2026

describe("autopilot.core.http_date", function()
  it("reads the three forms of RFC 9110 as Unix seconds", function()
    assert.equal(784111777, core.http_date "Sun, 06 Nov 1994 08:49:37 GMT")
    assert.equal(784111777, core.http_date("Sunday, 06-Nov-94 08:49:37 GMT", now))
    assert.equal(784111777, core.http_date "Sun Nov  6 08:49:37 1994")
  end)

  it("ignores spaces and tabs around the date", function()
    assert.equal(784111777, core.http_date " \tSun, 06 Nov 1994 08:49:37 GMT \t")
  end)

  it("reads dates from year 0 to year 9999, with a leap second", function()
    assert.equal(-62167219200, core.http_date "Sat, 01 Jan 0000 00:00:00 GMT")
    assert.equal(253402300799, core.http_date "Fri, 31 Dec 9999 23:59:59 GMT")
    assert.equal(1483228800, core.http_date "Sat, 31 Dec 2016 23:59:60 GMT")
  end)

  it("takes a two-digit year for the latest that is at most 50 years after now", function()
    local noon_2000 = 946728000
    assert.equal(2524651200, core.http_date("Saturday, 01-Jan-50 12:00:00 GMT", noon_2000))
    assert.equal(-631108800, core.http_date("Sunday, 01-Jan-50 12:00:00 GMT", noon_2000 - 0.5))
  end)

  it("takes now from the system where none is given", function()
    local today = os.time()
    assert.equal(today, core.http_date(os.date("!%A, %d-%b-%y %H:%M:%S GMT", today)))
    assert.equal(today, core.http_date(os.date("!%A, %d-%b-%y %H:%M:%S GMT", today), nil))
  end)

  it("answers nil for a day that does not exist or a weekday that is not the date's", function()
    assert.is_nil(core.http_date "Mon, 30 Feb 2026 00:00:00 GMT")
    assert.is_nil(core.http_date "Sun, 29 Feb 1900 00:00:00 GMT")
    assert.is_nil(core.http_date "Mon, 06 Nov 1994 08:49:37 GMT")
    assert.is_nil(core.http_date "Sun, 06 Nov 1994 24:00:00 GMT")
  end)

  it("answers nil for everything else, whatever the bytes", function()
    for _, text in ipairs {
      "",
      "784111777",
      "20260101",
      "Sun, 06 Nov 1994 08:49:37 UTC",
      "Sun, 06 Nov 1994 08:49:37 +0000",
      "sun, 06 nov 1994 08:49:37 gmt",
      "Sun, 6 Nov 1994 08:49:37 GMT",
      "Sun, 06 Nov 94 08:49:37 GMT",
      "Sun, 06 Nov 1994 08:49:37 GMT\0",
      "Sun, 06 Nov 1994 08:49:37 GMT\n",
      "\0",
      ("9"):rep(100000),
    } do
      assert.is_nil((core.http_date(text)), text)
    end
  end)

  it("returns exactly one value", function()
    assert.equal(1, select("#", core.http_date "soon"))
    assert.equal(1, select("#", core.http_date "Sun, 06 Nov 1994 08:49:37 GMT"))
  end)

  it("raises for a text that is no string and a now that is no finite number", function()
    for _, text in ipairs { 20260101, true, {} } do
      assert.has_error(function()
        core.http_date(text)
      end)
    end
    assert.has_error(function()
      core.http_date()
    end)
    for _, wrong in ipairs { "0", true, 0 / 0, math.huge, -math.huge } do
      assert.has_error(function()
        core.http_date("Sun, 06 Nov 1994 08:49:37 GMT", wrong)
      end)
    end
  end)
end)
