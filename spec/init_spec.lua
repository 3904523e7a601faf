-- The facade: what `require "autopilot"` offers.

local autopilot = require "autopilot"
local mistakes = require "support.mistakes"

describe("autopilot", function()
  it("makes a client that asks for a sync", function()
    local client = autopilot.client {
      token = "t",
      transport = autopilot.transport.scripted { { status = 204 } },
    }
    assert.equal("started", client:sync().outcome)
  end)

  it("raises at the caller's line for the caller's mistake", function()
    local line
    local message = mistakes.raised(function()
      line = mistakes.this_line() + 1
      autopilot.client { tokn = "t" }
    end)
    mistakes.assert_raised_at(line, message, "autopilot.client: unknown option 'tokn'")
  end)

  it("has the retry helpers, the HTTP layers, the emulator and the date parser", function()
    for _, name in ipairs {
      "policy",
      "never",
      "graph",
      "patient",
      "budget",
      "run",
      "parse_retry_after",
    } do
      assert.is_truthy(autopilot.retry[name], name)
    end
    assert.equal(784111777, autopilot.http_date "Sun, 06 Nov 1994 08:49:37 GMT")
    assert.is_nil(autopilot.http_date "yesterday")
    assert.equal(2.128, autopilot.retry.parse_retry_after("2.128", 0))
    assert.is_truthy(autopilot.transport.curl)
    assert.is_function(autopilot.emulator.new {}:transport())
  end)

  it("has one version, the same everywhere", function()
    assert.equal(require "autopilot.version", autopilot._VERSION)
  end)

  it("has nil for an unknown name", function()
    assert.is_nil(autopilot.clent)
  end)

  it("loads a part when it is first used, and then returns the same one", function()
    assert.equal(autopilot.retry, autopilot.retry)
    assert.equal(autopilot.retry, require "autopilot.retry")
    assert.equal(autopilot.client, require "autopilot.client")
  end)
end)
