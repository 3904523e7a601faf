-- Plain http is for this machine: what is it, and what only looks like it.

local is_loopback = require "autopilot.base.url"

describe("autopilot.base.url", function()
  it("knows this machine by its name and by every address it has for itself", function()
    for _, host in ipairs { "localhost", "127.0.0.1", "127.255.255.254", "127.0.0.0", "[::1]" } do
      assert.is_true(is_loopback(host), host)
    end
  end)

  it("takes nothing for it that may be another", function()
    for _, host in ipairs {
      "",
      "localhost.evil.test",
      "evil.localhost",
      "127.0.0.1.evil.test",
      "127.0.0.256",
      "127.0.0.1000",
      "127.0.1",
      "127.1",
      "2130706433",
      "0x7f.0.0.1",
      "1127.0.0.1",
      "127.0.0.1\n",
      "127.0.0.1.",
      "0.0.0.0",
      "[::]",
      "::1",
      "[::2]",
      "[::ffff:10.0.0.1]",
    } do
      assert.is_false(is_loopback(host), host)
    end
  end)
end)
