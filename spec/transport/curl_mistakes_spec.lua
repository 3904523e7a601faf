-- The transport over libcurl: invalid requests raise, before anything is sent.

local core = require "autopilot.core"
local libcurl = require "support.libcurl"
local overlay = require "support.overlay"

describe("an invalid request", function()
  local function refuse(options, pattern)
    local given = overlay({ method = "POST", url = "https://graph.example.test/" }, options)
    local ok, message = pcall(core.request, given)
    assert.is_false(ok)
    assert.matches(pattern, message)
    assert.is_nil(message:find "secret")
  end

  it("may have another method", function()
    for _, method in ipairs { "", "post", "PUT", "POST\0", "POST / HTTP/1.1\r\nX: y" } do
      refuse({ method = method }, "request: ")
    end
  end)

  it("may have a URL that cannot be used safely", function()
    local urls = {
      "",
      "graph.example.test",
      "/path",
      "ftp://graph.example.test/",
      "file:///etc/passwd",
      "https://",
      "https://user:secret@graph.example.test/",
      "https://user@graph.example.test/",
      "https://:secret@graph.example.test/",
      "https://graph.example.test:99999/",
      "https://graph.example.test/a b",
      "https://graph.example.test/\r\nX: secret",
      "https://graph.example.test/\t",
      "https://graph.example.test/\127",
      "https://graph.example.test/\0",
      "http://graph.example.test/",
      "http://127.0.0.1.example.test/",
      "http://127.0.0.1@graph.example.test/",
      "http://localhost.example.test/",
      "http://10.0.0.1/",
      "http://128.0.0.1/",
      "http://2130706434.example.test/",
      "http://[::2]/",
    }
    if libcurl.is_between "7.88" then -- older ones may take an empty user for none
      urls[#urls + 1] = "https://@graph.example.test/"
    end
    for _, url in ipairs(urls) do
      refuse({ url = url }, "request: ")
    end
  end)

  it("is not one with a loopback host in any form that libcurl understands", function()
    local urls = {
      "http://127.0.0.1/",
      "http://localhost:8080/",
      "http://[::1]:8080/",
      "http://127.1/",
      "http://2130706433/",
      "http://169.254.169.254/metadata",
      "HTTPS://graph.example.test/",
    }
    for _, url in ipairs(urls) do
      assert.has_no.errors(function()
        core.request { method = "POST", url = url }
      end)
    end
  end)

  it("may have a header that cannot be sent", function()
    local headers = {
      { ["A B"] = "x" },
      { ["A:"] = "x" },
      { [""] = "x" },
      { ["A\r\nB"] = "x" },
      { ["A\0"] = "x" },
      { ["\228"] = "x" },
      { A = "secret\r\nX: y" },
      { A = "secret\n" },
      { A = "secret\0" },
      { A = 1 },
      { A = {} },
      { "x" },
    }
    for _, wrong in ipairs(headers) do
      refuse({ headers = wrong }, "request: ")
    end
  end)

  it("may have an option of another type", function()
    refuse({ headers = "A: secret" }, "'headers' must be a table")
    refuse({ body = { "secret" } }, "'body' must be a string")
    refuse({ body = 5 }, "'body' must be a string")
    refuse({ body = true }, "'body' must be a string")
    refuse({ url = 5 }, "'url' must be a string")
    refuse({ proxy = false }, "'proxy' must be a string")
    refuse({ ca_file = "a\0secret" }, "'ca_file' contains a NUL")
    refuse({ user_agent = "me\r\nX: secret" }, "request: ")
    refuse({ http_version = "3" }, "'http_version'")
    for _, limit in ipairs { -1, 0 / 0, 1e300, "x" } do
      refuse({ max_body = limit }, ".")
    end
    assert.is_false(pcall(core.request))
    assert.is_false(pcall(core.request, "https://graph.example.test/"))
    assert.is_false(pcall(core.request, {}))
    assert.is_false(pcall(core.request, { method = "POST" }))
  end)
end)
