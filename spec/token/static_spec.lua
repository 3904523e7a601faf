local mistakes = require "support.mistakes"
local static = require("autopilot.token").static
local virtual_world = require "support.virtual_world"

describe("autopilot.token.static", function()
  it("returns its token, also after it was refused", function()
    local provider = static "good"
    assert.equal("good", provider { tenant = "contoso" })
    assert.equal("good", provider { refresh = true })
    assert.equal("good", provider())
  end)

  it("signs a client in", function()
    local client, transport = virtual_world
      .new()
      :scripted({ { status = 204 } }, { token = static "good" })
    assert.equal("started", client:sync().outcome)
    assert.equal("Bearer good", transport.requests[1].headers["Authorization"])
  end)

  it("raises for anything but a token, at the caller's line, and quotes nothing", function()
    for _, case in ipairs {
      { nil, "must be a string (got nil)" },
      { 5, "must be a string (got number)" },
      { "", "must not be empty" },
      { "hid\r\nden", "must be without CR, LF, NUL and the word 'Bearer'" },
      { "Bearer hidden", "must be without CR, LF, NUL and the word 'Bearer'" },
      { "hid\0den", "must be without CR, LF, NUL and the word 'Bearer'" },
    } do
      local line
      local message = mistakes.raised(function()
        line = mistakes.this_line() + 1
        local provider = static(case[1])
        return provider
      end)
      mistakes.assert_raised_at(line, message, "autopilot.token.static: the token ")
      assert.is_truthy(message:find(case[2], 1, true), message)
      assert.is_nil(message:find "hid")
    end
  end)
end)
