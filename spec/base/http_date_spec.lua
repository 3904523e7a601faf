local http_date = require "autopilot.base.http_date"

local now = 1784805795 -- 23 July 2026

describe("autopilot.base.http_date.read", function()
  it("reads the three forms of RFC 9110 as Unix seconds", function()
    assert.equal(784111777, http_date.read "Sun, 06 Nov 1994 08:49:37 GMT")
    assert.equal(784111777, http_date.read("Sunday, 06-Nov-94 08:49:37 GMT", now))
    assert.equal(784111777, http_date.read "Sun Nov  6 08:49:37 1994")
  end)

  it("ignores spaces and tabs around the date", function()
    assert.equal(784111777, http_date.read " \tSun, 06 Nov 1994 08:49:37 GMT \t")
  end)

  it("reads dates from year 0 to year 9999, with a leap second", function()
    assert.equal(-62167219200, http_date.read "Sat, 01 Jan 0000 00:00:00 GMT")
    assert.equal(253402300799, http_date.read "Fri, 31 Dec 9999 23:59:59 GMT")
    assert.equal(1483228800, http_date.read "Sat, 31 Dec 2016 23:59:60 GMT")
  end)

  it("takes a two-digit year for the latest that is at most 50 years after now", function()
    local noon_2000 = 946728000
    assert.equal(2524651200, http_date.read("Saturday, 01-Jan-50 12:00:00 GMT", noon_2000))
    assert.equal(-631108800, http_date.read("Sunday, 01-Jan-50 12:00:00 GMT", noon_2000 - 0.5))
  end)

  it("uses the system's time as now by default", function()
    local today = os.time()
    assert.equal(today, http_date.read(os.date("!%A, %d-%b-%y %H:%M:%S GMT", today)))
    assert.equal(today, http_date.read(os.date("!%A, %d-%b-%y %H:%M:%S GMT", today), nil))
  end)

  it("answers nil for a day that does not exist or a weekday that is not the date's", function()
    assert.is_nil(http_date.read "Mon, 30 Feb 2026 00:00:00 GMT")
    assert.is_nil(http_date.read "Sun, 29 Feb 1900 00:00:00 GMT")
    assert.is_nil(http_date.read "Mon, 06 Nov 1994 08:49:37 GMT")
    assert.is_nil(http_date.read "Sun, 06 Nov 1994 24:00:00 GMT")
  end)

  it("answers nil for any other bytes", function()
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
      assert.is_nil((http_date.read(text)), text)
    end
  end)

  it("returns exactly one value", function()
    assert.equal(1, select("#", http_date.read "soon"))
    assert.equal(1, select("#", http_date.read "Sun, 06 Nov 1994 08:49:37 GMT"))
  end)

  it("answers nil for anything but a string, such as a missing header", function()
    for _, value in ipairs { 20260101, true, {} } do
      assert.is_nil((http_date.read(value)))
    end
    assert.is_nil((http_date.read(nil)))
  end)

  it("answers nil for a two-digit year when now is NaN or not a number", function()
    assert.is_nil(http_date.read("Sunday, 06-Nov-94 08:49:37 GMT", 0 / 0))
  end)

  it("reads every day from 1890 to 2110", function()
    local lengths = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
    local days, count = -29219, 0 -- 1 January 1890
    for year = 1890, 2110 do
      lengths[2] = (year % 400 == 0 or year % 4 == 0 and year % 100 ~= 0) and 29 or 28
      for _, length in ipairs(lengths) do
        for day = 1, length do
          local seconds = days * 86400 + (count * 7919) % 86400
          local text = os.date("!%a, %d %b %Y %H:%M:%S GMT", seconds)
          assert(text:find((", %02d %%a+ %d "):format(day, year)), text)
          assert(http_date.read(text) == seconds, text)
          days, count = days + 1, count + 1
        end
      end
    end
    assert.equal(51499, days) -- 1 January 2111
  end)
end)
