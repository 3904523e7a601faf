-- What a transfer tells of Graph's own headers.

local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local wire = require "support.wire"

--- The Graph headers of an answer with these header lines.
local function told(lines)
  local server =
    hostile.listen(wire.answers("HTTP/1.1 204 No Content\r\n" .. lines .. "\r\n", "close"))
  local set = core.transfer_set()
  local request = core.request { method = "POST", url = server:url() }
  local transfer = set:add(request, 5 * hostile.patience, 5 * hostile.patience)
  hostile.until_true(function()
    return transfer:is_finished()
  end, function()
    set:step(0.001)
  end)
  return transfer:graph_headers()
end

describe("the Graph headers of a transfer", function()
  after_each(wire.close)

  it(
    "are the date as Unix time and three texts, whatever the letters' case and the order",
    function()
      local date, request_id, diagnostics, sunset = told(
        "X-MS-AGS-Diagnostic: {}\r\nREQUEST-ID: 5c0e\r\nsunset: soon\r\n"
          .. "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
      )
      assert.are.same(
        { 784111777, "5c0e", "{}", "soon" },
        { date, request_id, diagnostics, sunset }
      )
    end
  )

  it("are nil where the answer has none, or a date that cannot be read", function()
    local date, request_id, diagnostics, sunset = told "Date: yesterday\r\nrequest-ix: a\r\n"
    assert.is_nil(date)
    assert.is_nil(request_id)
    assert.is_nil(diagnostics)
    assert.is_nil(sunset)
  end)

  it("are joined where they are repeated, but two dates are none", function()
    local line = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    local date, request_id = told(line .. "request-id: a\r\nrequest-id: b\r\n" .. line)
    assert.is_nil(date)
    assert.are.equal("a, b", request_id)
  end)
end)
