-- The address of a host and nothing more.

local split = require "autopilot.base.origin"

describe("autopilot.base.origin", function()
  it("splits scheme, host and port, in small letters", function()
    for text, expected in pairs {
      ["https://login.example.test"] = { "https", "login.example.test", "" },
      ["HTTPS://Login.Example.test:8443/"] = { "https", "login.example.test", ":8443" },
      ["http://[::1]:65535"] = { "http", "[::1]", ":65535" },
      ["ftp://a-b.c/"] = { "ftp", "a-b.c", "" },
    } do
      assert.same(expected, { split(text) })
    end
  end)

  it("is nil for anything with more or less in it", function()
    for _, text in ipairs {
      "",
      "host",
      "https://",
      "https:///",
      "https://host/path",
      "https://host?query",
      "https://host#fragment",
      "https://user@host",
      "https://user:word@host",
      "https://a..b",
      "https://.a",
      "https://-a",
      "https://a b",
      "https://a\n",
      "https://a:",
      "https://a:0",
      "https://a:65536",
      "https://a:123456",
      "https://a:8a",
      "https://[::1",
      "https://::1",
    } do
      assert.is_nil((split(text)))
    end
  end)
end)
