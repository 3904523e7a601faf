local dates = require "autopilot.base.dates"

local date = "Thu, 23 Jul 2026 11:23:15 GMT"
local moment = 1784805795
local ceiling = 2 ^ 31

describe("autopilot.base.dates.read_retry_after", function()
  it("reads seconds, with a fraction as Graph sends them too", function()
    assert.equal(120, dates.read_retry_after("120", moment))
    assert.equal(0, dates.read_retry_after("0", moment))
    assert.equal(2.128, dates.read_retry_after("2.128", moment))
    assert.equal(120, dates.read_retry_after(" 120\t", moment))
  end)

  it("reads an HTTP-date as the time left from now", function()
    assert.equal(600, dates.read_retry_after(date, moment - 600))
    assert.equal(0.25, dates.read_retry_after(date, moment - 0.25))
    assert.equal(90, dates.read_retry_after("Thursday, 23-Jul-26 11:23:15 GMT", moment - 90))
    assert.equal(90, dates.read_retry_after("Thu Jul 23 11:23:15 2026", moment - 90))
  end)

  it("reads a date that has passed as 0", function()
    assert.equal(0, dates.read_retry_after(date, moment))
    assert.equal(0, dates.read_retry_after(date, moment + 1))
  end)

  it("never turns a huge number into a small or infinite one", function()
    assert.equal(ceiling - 1, dates.read_retry_after("2147483647", moment))
    for _, text in ipairs { "2147483648", "4294967296", "18446744073709551617", ("9"):rep(5000) } do
      assert.equal(ceiling, dates.read_retry_after(text, moment))
    end
    assert.equal(ceiling, dates.read_retry_after("Fri, 31 Dec 9999 23:59:59 GMT", moment))
  end)

  it("takes the longest of the values of repeated headers", function()
    assert.equal(120, dates.read_retry_after("120, 120", moment))
    assert.equal(120, dates.read_retry_after("60, 120, 2.5", moment))
    assert.equal(120, dates.read_retry_after("120, ", moment))
    assert.equal(60, dates.read_retry_after(date .. ", 5", moment - 60))
    assert.equal(60, dates.read_retry_after("5, " .. date, moment - 60))
  end)

  it("answers nil when one of several values cannot be read", function()
    assert.is_nil((dates.read_retry_after("120, soon", moment)))
    assert.is_nil((dates.read_retry_after("Sun, 06", moment)))
  end)

  it("answers nil for any other bytes", function()
    for _, text in ipairs {
      "",
      " ",
      ",",
      "-1",
      "+1",
      "1e3",
      "0x10",
      "inf",
      "nan",
      ".5",
      "5.",
      "1.2.3",
      "120s",
      "120 s",
      "120\0",
      "120\n",
      "PT2M",
      "null",
      "Thu, 30 Feb 2026 11:23:15 GMT",
      "2026-07-23T11:23:15Z",
    } do
      assert.is_nil((dates.read_retry_after(text, moment)), text)
    end
  end)

  it("uses the system's time as now by default", function()
    local text = os.date("!%a, %d %b %Y %H:%M:%S GMT", os.time() + 1000)
    local left = dates.read_retry_after(text)
    assert.is_true(left > 900 and left <= 1000)
    assert.equal(120, dates.read_retry_after "120")
  end)

  it("returns exactly one value", function()
    assert.equal(1, select("#", dates.read_retry_after("soon", moment)))
    assert.equal(1, select("#", dates.read_retry_after("120", moment)))
  end)

  it("answers nil for anything but a string, such as a missing header", function()
    for _, value in ipairs { 120, true, {} } do
      assert.is_nil((dates.read_retry_after(value, moment)))
    end
    assert.is_nil((dates.read_retry_after(nil, moment)))
  end)

  it("answers nil for a date when now is not a number, rather than a wait of 0", function()
    assert.is_nil((dates.read_retry_after(date, 0 / 0)))
  end)
end)
