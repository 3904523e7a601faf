-- Plain http is allowed to this machine only: which hosts are it, and which only look like it. Percent-encoding.

local url = require "autopilot.base.url"

local is_loopback, split = url.is_loopback, url.split

describe("autopilot.base.url.is_loopback", function()
  it("knows this machine by its name and by all its loopback addresses", function()
    for _, host in ipairs { "localhost", "127.0.0.1", "127.255.255.254", "127.0.0.0", "[::1]" } do
      assert.is_true(is_loopback(host), host)
    end
  end)

  it("is false for every host that may be another machine", function()
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

describe("autopilot.base.url.split", function()
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

  it("is nil for any other form", function()
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

describe("autopilot.base.url.percent_decoded", function()
  it("decodes every byte, and leaves other text unchanged", function()
    local given = { ["a%20b%2Fc%2f%00"] = "a b/c/\0", ["100%, %zz %4"] = "100%, %zz %4", [""] = "" }
    for text, expected in pairs(given) do
      assert.equal(expected, url.percent_decoded(text))
    end
    assert.equal(1, select("#", url.percent_decoded "%41"))
  end)
end)
