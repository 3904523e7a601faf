-- Newer libcurls need descriptors for a set of transfers. Where the system grants none, nothing was sent, and
-- that is what is reported: nothing raises.

local autopilot = require "autopilot"
local core = require "autopilot.core"

local base_url = "https://127.0.0.1:1"

local function assert_unsent(failure)
  assert.equal("unreachable", failure.outcome)
  assert.equal("no", failure.delivered)
  assert.equal("CURLE_FAILED_INIT", failure.network.name)
  assert.matches("descriptors", failure.network.message)
  assert.matches("^The request to the service was not sent: .*descriptors", failure.hint)
end

describe("without a transfer set", function()
  local make_set = core.transfer_set

  before_each(function()
    core.transfer_set = function()
      error "not enough memory or descriptors"
    end
  end)

  after_each(function()
    core.transfer_set = make_set
  end)

  it("a client's request is not sent", function()
    local client = autopilot.client { token = "a", base_url = base_url, retry = false }
    local report, failure = client:sync()
    assert.is_nil(report)
    assert_unsent(failure)
    client:close()
  end)

  it("a fleet's requests are not sent", function()
    local fleet = autopilot.fleet {
      tenants = { "one", "two" },
      client = function()
        return { token = "a", base_url = base_url, retry = false }
      end,
    }
    local seen = 0
    for _, report in fleet:run() do
      assert_unsent(report)
      seen = seen + 1
    end
    assert.equal(2, seen)
  end)
end)
