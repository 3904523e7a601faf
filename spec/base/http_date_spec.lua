local dates = require "autopilot.base.dates"

local now = 1784805795 -- 23 July 2026

describe("autopilot.base.dates.read_http_date", function()
  it("reads the three forms of RFC 9110 as Unix seconds", function()
    assert.equal(784111777, dates.read_http_date "Sun, 06 Nov 1994 08:49:37 GMT")
    assert.equal(784111777, dates.read_http_date("Sunday, 06-Nov-94 08:49:37 GMT", now))
    assert.equal(784111777, dates.read_http_date "Sun Nov  6 08:49:37 1994")
  end)

  it("ignores spaces and tabs around the date", function()
    assert.equal(784111777, dates.read_http_date " \tSun, 06 Nov 1994 08:49:37 GMT \t")
  end)

  it("reads dates from year 0 to year 9999, with a leap second", function()
    assert.equal(-62167219200, dates.read_http_date "Sat, 01 Jan 0000 00:00:00 GMT")
    assert.equal(253402300799, dates.read_http_date "Fri, 31 Dec 9999 23:59:59 GMT")
    assert.equal(1483228800, dates.read_http_date "Sat, 31 Dec 2016 23:59:60 GMT")
  end)

  it("takes a two-digit year for the latest that is at most 50 years after now", function()
    local noon_2000 = 946728000
    assert.equal(2524651200, dates.read_http_date("Saturday, 01-Jan-50 12:00:00 GMT", noon_2000))
    assert.equal(
      -631108800,
      dates.read_http_date("Sunday, 01-Jan-50 12:00:00 GMT", noon_2000 - 0.5)
    )
  end)

  it("uses the system's time as now by default", function()
    local today = os.time()
    assert.equal(today, dates.read_http_date(os.date("!%A, %d-%b-%y %H:%M:%S GMT", today)))
    assert.equal(today, dates.read_http_date(os.date("!%A, %d-%b-%y %H:%M:%S GMT", today), nil))
  end)

  it("answers nil for a day that does not exist or a weekday that is not the date's", function()
    assert.is_nil(dates.read_http_date "Mon, 30 Feb 2026 00:00:00 GMT")
    assert.is_nil(dates.read_http_date "Sun, 29 Feb 1900 00:00:00 GMT")
    assert.is_nil(dates.read_http_date "Mon, 06 Nov 1994 08:49:37 GMT")
    assert.is_nil(dates.read_http_date "Sun, 06 Nov 1994 24:00:00 GMT")
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
      assert.is_nil((dates.read_http_date(text)), text)
    end
  end)

  it("returns exactly one value", function()
    assert.equal(1, select("#", dates.read_http_date "soon"))
    assert.equal(1, select("#", dates.read_http_date "Sun, 06 Nov 1994 08:49:37 GMT"))
  end)

  it("answers nil for anything but a string, such as a missing header", function()
    for _, value in ipairs { 20260101, true, {} } do
      assert.is_nil((dates.read_http_date(value)))
    end
    assert.is_nil((dates.read_http_date(nil)))
  end)

  it("answers nil for a two-digit year when now is NaN or not a number", function()
    assert.is_nil(dates.read_http_date("Sunday, 06-Nov-94 08:49:37 GMT", 0 / 0))
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
          assert(dates.read_http_date(text) == seconds, text)
          days, count = days + 1, count + 1
        end
      end
    end
    assert.equal(51499, days) -- 1 January 2111
  end)
end)
