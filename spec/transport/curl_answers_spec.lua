-- Answers over HTTP/1.1 are read correctly, in every form that is allowed.

local http1_answers = require "support.http1_answers"
local wire = require "support.wire"

local answer, ask = http1_answers.answer, http1_answers.ask
local assert_lost, assert_whole = http1_answers.assert_lost, http1_answers.assert_whole

describe("an answer over HTTP/1.1", function()
  after_each(wire.close)
  teardown(wire.teardown)

  describe("that is well formed", function()
    it("is a status, a version and headers", function()
      local outcome = answer "HTTP/1.1 204 No Content\r\nRequest-Id: 7\r\n\r\n"
      assert_whole(outcome, 204)
      assert.are.equal("1.1", outcome.response.http_version)
      assert.are.same({ ["request-id"] = "7" }, outcome.response.headers)
    end)

    it("may come byte by byte", function()
      local text = "HTTP/1.1 429 Slow down\r\nRetry-After: 5\r\nContent-Length: 3\r\n\r\nabc"
      local outcome = ask(function(connection)
        connection:read_head()
        connection:send_slowly(text)
      end)
      assert_whole(outcome, 429, "abc")
      assert.are.equal("5", outcome.response.headers["retry-after"])
    end)

    it("may have no reason phrase", function()
      assert_whole(answer "HTTP/1.1 204\r\n\r\n", 204)
      assert_whole(answer "HTTP/1.1 204 \r\n\r\n", 204)
    end)

    it("may come from an HTTP/1.0 server, ended by the end of the connection", function()
      local outcome = answer("HTTP/1.0 503 Busy\r\nRetry-After: 9\r\n\r\nbusy", "close")
      assert_whole(outcome, 503, "busy")
      assert.are.equal("1.0", outcome.response.http_version)
      assert.are.equal("9", outcome.response.headers["retry-after"])
    end)

    it("may end its lines with LF alone", function()
      local outcome = answer "HTTP/1.1 204 No Content\nRequest-Id: 7\n\n"
      assert_whole(outcome, 204)
      assert.are.equal("7", outcome.response.headers["request-id"])
    end)

    it("may have a body with any byte in it", function()
      local bytes = {}
      for byte = 0, 255 do
        bytes[#bytes + 1] = string.char(byte)
      end
      local body = table.concat(bytes):rep(64)
      local outcome = answer("HTTP/1.1 200 OK\r\nContent-Length: 16384\r\n\r\n" .. body)
      assert_whole(outcome, 200, body)
    end)

    it("keeps the HTML of a captive portal, which others interpret", function()
      local page = "<html><title>Log in</title></html>"
      local head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
      assert_whole(answer(head:format(#page) .. page), 200, page)
    end)
  end)

  describe("with headers", function()
    it("has them by lower-case name", function()
      local outcome = answer "HTTP/1.1 204 X\r\nRETRY-AFTER: 5\r\nrequest-ID: Ab\r\n\r\n"
      assert.are.same({ ["retry-after"] = "5", ["request-id"] = "Ab" }, outcome.response.headers)
    end)

    it("joins repeated ones by a comma and a space, in their order", function()
      local outcome = answer(
        "HTTP/1.1 401 X\r\nContent-Length: 0\r\nWWW-Authenticate: Bearer a=1\r\n"
          .. "Other: x\r\nwww-authenticate: Basic\r\nWWW-AUTHENTICATE: \r\n\r\n"
      )
      local joined = "Bearer a=1, Basic, "
      assert.are.equal(joined, outcome.response.headers["www-authenticate"])
    end)

    it("joins no more than 8 KiB of repeated ones: each one more would be a copy of all", function()
      local many = ("a: bbbbbb\r\n"):rep(2000) -- newer libcurls take 5,000 headers at most
      local outcome = answer("HTTP/1.1 204 X\r\n" .. many .. "Other: x\r\n\r\n")
      local length = #outcome.response.headers["a"]
      assert.is_true(length >= 8192 and length < 8200, length)
      assert.are.equal("x", outcome.response.headers["other"])
    end)

    it("joins folded lines by a space", function()
      local outcome =
        answer "HTTP/1.1 204 X\r\nClaims: one,\r\n  two\r\n\tthree  \r\nOther: x\r\n\r\n"
      assert.are.equal("one, two three", outcome.response.headers["claims"])
      assert.are.equal("x", outcome.response.headers["other"])
    end)

    it("removes the white space around a value, also of a folded one", function()
      local outcome =
        answer("HTTP/1.1 204 X\r\nA:x\r\nB: \t y z \t \r\nC:\r\nD:\r\n folded\r\nE: e\r\n \r\n\r\n")
      assert.are.same(
        { a = "x", b = "y z", c = "", d = "folded", e = "e" },
        outcome.response.headers
      )
    end)

    it("keeps a thousand of them", function()
      local lines = {}
      for number = 1, 1000 do
        lines[number] = ("X-%d: value %d\r\n"):format(number, number)
      end
      local outcome = answer("HTTP/1.1 204 X\r\n" .. table.concat(lines) .. "\r\n")
      assert_whole(outcome, 204)
      for number = 1, 1000 do
        assert.are.equal("value " .. number, outcome.response.headers["x-" .. number])
      end
    end)

    it("joins a thousand with the same name", function()
      local outcome = answer("HTTP/1.1 204 X\r\n" .. ("Same: x\r\n"):rep(1000) .. "\r\n")
      assert.are.equal(("x, "):rep(999) .. "x", outcome.response.headers["same"])
    end)

    it("keeps a line of almost 100 kB, and reports a longer one", function()
      local long = ("x"):rep(99000)
      local outcome =
        answer("HTTP/1.1 204 X\r\nBefore: b\r\nLong: " .. long .. "\r\nAfter: a\r\n\r\n")
      assert_whole(outcome, 204)
      assert.are.equal(long, outcome.response.headers["long"])
      outcome =
        answer("HTTP/1.1 429 X\r\nRetry-After: 5\r\nLong: " .. ("x"):rep(110000) .. "\r\n\r\n")
      assert.are.equal(429, outcome.status)
      assert.are.equal("5", outcome.response.headers["retry-after"])
      assert.are.equal("receive", outcome.network.stage)
      assert.matches("header", outcome.network.message)
    end)
  end)

  describe("after others with 1xx", function()
    it("is the last one, without headers of the others", function()
      local before = {
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nRetry-After: 99\r\nEarly: e\r\n\r\n",
        ("HTTP/1.1 102 Processing\r\nEarly: e\r\n\r\n"):rep(20),
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nEarly: e\r\n\r\n",
      }
      for _, interim in ipairs(before) do
        local outcome = answer(interim .. "HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno")
        assert_whole(outcome, 409, "no")
        assert.are.same({ ["content-length"] = "2" }, outcome.response.headers)
      end
    end)

    it("is lost if only those came", function()
      for _, ending in ipairs { "close", "cut", "reset" } do
        for _, interim in ipairs { "100 Continue", "103 Early Hints" } do
          local outcome = answer(("HTTP/1.1 %s\r\n\r\n"):format(interim), ending)
          assert.is_nil(outcome.response)
          assert.are.equal("receive", outcome.network.stage)
        end
      end
    end)

    it("is lost if it cannot be read", function()
      local outcome = answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1  204 X\r\n\r\n", "close")
      assert.is_nil(outcome.response)
      assert.are.equal("receive", outcome.network.stage)
    end)

    it("does not exceed its time if they never end", function()
      local outcome = wire.run_out("sent", 0.1, function(seconds)
        return ask(function(connection)
          connection:read_head()
          connection:send_endlessly(("HTTP/1.1 103 Early Hints\r\n\r\n"):rep(10))
        end, { total = seconds })
      end)
      -- Some builds of libcurl count the bytes of all heads, and are quicker to give up.
      local is_counted = outcome.network.name ~= "CURLE_OPERATION_TIMEDOUT"
      assert_lost(outcome, is_counted and "CURLE_RECV_ERROR" or "CURLE_OPERATION_TIMEDOUT")
    end)

    it("is a 101 that was not asked for, and not a success", function()
      local outcome = answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "close")
      assert.are.equal(101, outcome.status)
    end)
  end)
end)
