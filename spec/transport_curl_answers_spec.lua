-- What comes back over HTTP/1.1 may be cut, malformed, oversized or endless. A status that has
-- arrived is never lost to what is wrong after it, and never forged by it.

local hostile = require "support.hostile_server"
local wire = require "support.wire"

local function ask(script, how)
  return wire.ask(hostile.listen(script), how)
end

local function answer(text, ending, how)
  return ask(wire.answers(text, ending), how)
end

local function assert_whole(outcome, status, body)
  assert.is_nil(outcome.network)
  assert.are.equal(status, outcome.status)
  assert.are.equal(body or "", outcome.response.body)
  assert.are.equal(1, outcome.sends)
end

-- The status counts, and the failure says that the rest does not.
local function assert_cut(outcome, status, name)
  assert.are.equal(status, outcome.status)
  assert.are.equal("receive", outcome.network.stage)
  assert.are.equal(name, outcome.network.name)
  assert.are.equal(1, outcome.sends)
end

local function assert_lost(outcome, name)
  assert.is_nil(outcome.response)
  assert.are.equal("receive", outcome.network.stage)
  assert.are.equal(name, outcome.network.name)
  assert.are.equal("unknown", outcome.network.delivered)
  assert.are.equal(1, outcome.sends)
end

local no_content = "HTTP/1.1 204 No Content\r\n\r\n"

describe("an answer over HTTP/1.1", function()
  after_each(wire.close)
  teardown(wire.teardown)

  describe("that is in order", function()
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

    it("keeps the HTML of a captive portal, which is for others to judge", function()
      local page = "<html><title>Log in</title></html>"
      local head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
      assert_whole(answer(head:format(#page) .. page), 200, page)
    end)
  end)

  describe("with headers", function()
    it("has them by lower-case name, whatever their case was", function()
      local outcome = answer "HTTP/1.1 204 X\r\nRETRY-AFTER: 5\r\nrequest-ID: Ab\r\n\r\n"
      assert.are.same({ ["retry-after"] = "5", ["request-id"] = "Ab" }, outcome.response.headers)
      assert.are.equal("5", outcome.response:header "Retry-After")
    end)

    it("joins repeated ones by a comma and a space, in their order", function()
      local outcome = answer(
        "HTTP/1.1 401 X\r\nContent-Length: 0\r\nWWW-Authenticate: Bearer a=1\r\n"
          .. "Other: x\r\nwww-authenticate: Basic\r\nWWW-AUTHENTICATE: \r\n\r\n"
      )
      local joined = "Bearer a=1, Basic, "
      assert.are.equal(joined, outcome.response.headers["www-authenticate"])
      assert.are.equal(joined, (outcome.response:header "www-authenticate"))
    end)

    it("joins folded lines by a space", function()
      local outcome =
        answer "HTTP/1.1 204 X\r\nClaims: one,\r\n  two\r\n\tthree  \r\nOther: x\r\n\r\n"
      assert.are.equal("one, two three", outcome.response.headers["claims"])
      assert.are.equal("x", outcome.response.headers["other"])
    end)

    it("drops the white space around a value, a folded one's too", function()
      local outcome =
        answer("HTTP/1.1 204 X\r\nA:x\r\nB: \t y z \t \r\nC:\r\nD:\r\n folded\r\nE: e\r\n \r\n\r\n")
      assert.are.same(
        { a = "x", b = "y z", c = "", d = "folded", e = "e" },
        outcome.response.headers
      )
    end)

    it("finds several at once, and nil for those that are not there", function()
      local outcome = answer "HTTP/1.1 204 X\r\nA: 1\r\nB: 2\r\n\r\n"
      local b, missing, a = outcome.response:header("b", "missing", "A")
      assert.are.same({ "2", nil, "1" }, { b, missing, a })
      assert.are.equal(3, select("#", outcome.response:header("b", "missing", "also missing")))
      assert.are.equal(0, select("#", outcome.response:header()))
    end)

    it("answers odd names with nil", function()
      local outcome = answer "HTTP/1.1 204 X\r\nA: 1\r\nA-B: 2\r\n\r\n"
      local odd = { "", " ", "a ", "a:", "a\0", "\0", "a\r\n", ("a"):rep(100000), "\255", "A-b-" }
      for _, name in ipairs(odd) do
        assert.is_nil((outcome.response:header(name)))
        assert.is_nil(outcome.response.headers[name])
      end
    end)

    it("keeps all of a thousand", function()
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

    it("joins a thousand of one name", function()
      local outcome = answer("HTTP/1.1 204 X\r\n" .. ("Same: x\r\n"):rep(1000) .. "\r\n")
      assert.are.equal(("x, "):rep(999) .. "x", outcome.response.headers["same"])
    end)

    it("keeps a line of almost 100 kB, and tells one that is longer", function()
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

  describe("with a head that is not in order", function()
    it("keeps the status of a head that is larger than 256 KiB", function()
      local long = ("Long: %s\r\n"):format(("x"):rep(90000))
      assert_cut(answer("HTTP/1.1 500 X\r\n" .. long:rep(3)), 500, "CURLE_FILESIZE_EXCEEDED")
    end)

    it("gives up a head without end", function()
      local outcome = ask(function(connection)
        connection:read_head()
        connection:send "HTTP/1.1 429 X\r\nRetry-After: 5\r\n"
        connection:send_endlessly("Pad: " .. ("x"):rep(1000) .. "\r\n")
      end)
      assert_cut(outcome, 429, "CURLE_FILESIZE_EXCEEDED")
      assert.are.equal("5", outcome.response.headers["retry-after"])
      assert.matches("256 KiB", outcome.network.message)
    end)

    it("is lost when it is cut inside the status line", function()
      for _, cut in ipairs { "", "HTT", "HTTP/1.1 20", "HTTP/1.1 204 No Con" } do
        assert_lost(answer(cut, "close"), "CURLE_GOT_NOTHING")
      end
    end)

    it("keeps the status that came before a cut", function()
      local name = "CURLE_WEIRD_SERVER_REPLY"
      assert_cut(answer("HTTP/1.1 429 X\r\n", "close"), 429, name)
      assert_cut(answer("HTTP/1.1 429 X\r\nRetry-After: 5\r\n", "close"), 429, name)
      assert_cut(answer("HTTP/1.1 429 X\r\nRetry-After: 5\r\n", "reset"), 429, "CURLE_RECV_ERROR")
    end)

    it("does not believe half a header", function()
      local outcome = answer("HTTP/1.1 429 X\r\nA: 1\r\nRetry-After: 12", "close")
      assert_cut(outcome, 429, "CURLE_WEIRD_SERVER_REPLY")
      assert.are.same({ a = "1" }, outcome.response.headers)
    end)

    it("does not take a second status line in it for the status", function()
      local outcome =
        answer "HTTP/1.1 500 Error\r\nHTTP/1.1 204 No: Content\r\nContent-Length: 0\r\n\r\n"
      assert.are.equal(500, outcome.status)
    end)

    it("refuses a header with a NUL, and one without a colon, but not the status", function()
      local name = "CURLE_WEIRD_SERVER_REPLY"
      assert_cut(answer "HTTP/1.1 500 X\r\nA: x\0y\r\n\r\n", 500, name)
      assert_cut(answer "HTTP/1.1 500 X\r\nno colon\r\n\r\n", 500, name)
    end)

    it("is lost when there is garbage before the status line", function()
      for _, garbage in ipairs { "garbage\r\n", "\r\n\r\n", "\0", "<html>\n" } do
        assert_lost(answer(garbage .. no_content, "close"), "CURLE_UNSUPPORTED_PROTOCOL")
      end
    end)

    it("is not taken from HTTP/0.9", function()
      assert_lost(answer("<html>204 No Content</html>\n", "close"), "CURLE_UNSUPPORTED_PROTOCOL")
    end)

    it("is not taken from a version or a status that does not exist", function()
      local lines = {
        "HTTP/1.2 204 X",
        "HTTP/7.1 204 X",
        "HTTP/1.1 20 X",
        "HTTP/1.1 2045 X",
        "HTTP/1.1 099 X",
        "HTTP/1.1 000 X",
        "HTTP/1.1 -04 X",
      }
      for _, line in ipairs(lines) do
        local outcome = answer(line .. "\r\nContent-Length: 0\r\n\r\n", "close")
        assert.is_nil(outcome.response, line)
        assert.are.equal("receive", outcome.network.stage)
      end
    end)
  end)

  describe("after others with 1xx", function()
    it("is the last one, and has nothing of theirs", function()
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

    it("is lost when none but those came", function()
      for _, ending in ipairs { "close", "cut", "reset" } do
        for _, interim in ipairs { "100 Continue", "103 Early Hints" } do
          local outcome = answer(("HTTP/1.1 %s\r\n\r\n"):format(interim), ending)
          assert.is_nil(outcome.response)
          assert.are.equal("receive", outcome.network.stage)
        end
      end
    end)

    it("is lost when it is one that cannot be read", function()
      local outcome = answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1  204 X\r\n\r\n", "close")
      assert.is_nil(outcome.response)
      assert.are.equal("receive", outcome.network.stage)
    end)

    it("does not outlast its time when they go on for ever", function()
      local outcome = ask(function(connection)
        connection:read_head()
        connection:send_endlessly(("HTTP/1.1 103 Early Hints\r\n\r\n"):rep(10))
      end, { total = 0.1 })
      -- Some builds of libcurl count the bytes of all heads, and are quicker to give up.
      local is_counted = outcome.network.name ~= "CURLE_OPERATION_TIMEDOUT"
      assert_lost(outcome, is_counted and "CURLE_RECV_ERROR" or "CURLE_OPERATION_TIMEDOUT")
    end)

    it("is a 101 that nobody asked for, and not a success", function()
      local outcome = answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "close")
      assert.are.equal(101, outcome.status)
    end)
  end)

  describe("with a body that is not in order", function()
    it("is a 204 all the same when a body comes with it", function()
      assert_whole(answer "HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\nhello", 204)
      assert_whole(
        answer "HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        204
      )
    end)

    it("keeps the status and what came of a body that is cut", function()
      local cut = {
        "Content-Length: 50\r\n\r\nhel",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n",
      }
      for _, rest in ipairs(cut) do
        local outcome = answer("HTTP/1.1 429 X\r\nRetry-After: 5\r\n" .. rest, "close")
        assert_cut(outcome, 429, "CURLE_PARTIAL_FILE")
        assert.are.equal("hel", outcome.response.body)
        assert.are.equal("5", outcome.response.headers["retry-after"])
      end
    end)

    it("keeps the status when the chunks or the length make no sense", function()
      local wrong = {
        "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello",
        "Content-Length: -1\r\n\r\nhello",
      }
      for _, rest in ipairs(wrong) do
        local outcome = answer("HTTP/1.1 503 X\r\nRetry-After: 5\r\n" .. rest, "close")
        assert.are.equal(503, outcome.status)
        assert.are.equal("5", outcome.response.headers["retry-after"])
        assert.are.equal("receive", outcome.network.stage)
      end
    end)

    it("is not decompressed: what was not asked for is kept as it came", function()
      for _, encoding in ipairs { "gzip", "br", "unheard-of" } do
        local head = "HTTP/1.1 500 X\r\nContent-Encoding: %s\r\nContent-Length: 5\r\n\r\nhello"
        assert_whole(answer(head:format(encoding)), 500, "hello")
      end
    end)

    it("keeps the status when its transfer coding cannot be undone", function()
      for _, coding in ipairs { "gzip, chunked", "unheard-of" } do
        local head = "HTTP/1.1 429 X\r\nRetry-After: 5\r\nTransfer-Encoding: %s\r\n\r\n"
        local outcome = answer(head:format(coding) .. "5\r\nhello\r\n0\r\n\r\n", "close")
        assert_cut(outcome, 429, "CURLE_BAD_CONTENT_ENCODING")
        assert.are.equal("5", outcome.response.headers["retry-after"])
      end
    end)

    it("takes no header from the trailers, and no status", function()
      local head = "HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n"
      local trailers = { "Retry-After: 3", "HTTP/1.1 204 No: Content", "HTTP/1.1 204 No Content" }
      for _, trailer in ipairs(trailers) do
        local outcome = answer(head .. trailer .. "\r\n\r\n")
        assert.are.equal(500, outcome.status)
        assert.are.equal("no", outcome.response.body)
        assert.are.same({ ["transfer-encoding"] = "chunked" }, outcome.response.headers)
      end
    end)
  end)

  describe("larger than its ceiling", function()
    local how = { http = { max_body = 1000 } }

    local function assert_over(outcome)
      assert_cut(outcome, 503, "CURLE_FILESIZE_EXCEEDED")
      assert.are.equal(("x"):rep(1000), outcome.response.body)
      assert.matches("max_body", outcome.network.message)
    end

    it("is whole when it reaches it exactly", function()
      local text = "HTTP/1.1 503 X\r\nContent-Length: 1000\r\n\r\n" .. ("x"):rep(1000)
      assert_whole(answer(text, nil, how), 503, ("x"):rep(1000))
    end)

    it("keeps the status and the first bytes, with a length told", function()
      local text = "HTTP/1.1 503 X\r\nContent-Length: 1001\r\n\r\n" .. ("x"):rep(1001)
      assert_over(answer(text, nil, how))
    end)

    it("keeps the status and the first bytes, in chunks", function()
      local chunk = "64\r\n" .. ("x"):rep(100) .. "\r\n"
      local head = "HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n"
      assert_over(answer(head .. chunk:rep(11) .. "0\r\n\r\n", nil, how))
    end)

    it("keeps the status and the first bytes when it has no end", function()
      assert_over(ask(function(connection)
        connection:read_head()
        connection:send "HTTP/1.1 503 X\r\n\r\n"
        connection:send_endlessly(("x"):rep(10000))
      end, how))
    end)

    it("may have no byte at all where the ceiling is 0", function()
      local none = { http = { max_body = 0 } }
      assert_whole(answer("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", nil, none), 503)
      local outcome = answer("HTTP/1.1 503 X\r\nContent-Length: 1\r\n\r\nx", nil, none)
      assert_cut(outcome, 503, "CURLE_FILESIZE_EXCEEDED")
      assert.are.equal("", outcome.response.body)
    end)
  end)

  describe("that stalls", function()
    local how = { total = 0.15 }

    it("keeps the status when it stalls after it", function()
      local stalled = {
        "HTTP/1.1 429 X\r\nRetry-After: 5\r\n",
        "HTTP/1.1 429 X\r\nRetry-After: 5\r\nContent-Length: 9\r\n\r\nhalf",
      }
      for _, text in ipairs(stalled) do
        local outcome = answer(text, "stall", how)
        assert_cut(outcome, 429, "CURLE_OPERATION_TIMEDOUT")
        assert.is_true(outcome.network.timeout)
        assert.are.equal("5", outcome.response.headers["retry-after"])
      end
    end)

    it("is lost when it stalls before it", function()
      for _, text in ipairs { "", "HTTP/1.1 20", "HTTP/1.1 100 Continue\r\n\r\n" } do
        assert_lost(answer(text, "stall", how), "CURLE_OPERATION_TIMEDOUT")
      end
    end)

    it("does not outlast its time when it drips", function()
      local outcome = ask(function(connection)
        connection:read_head()
        connection:send "HTTP/1.1 200 X\r\n\r\n"
        while true do
          connection:send "x"
          connection:wait()
        end
      end, how)
      assert_cut(outcome, 200, "CURLE_OPERATION_TIMEDOUT")
    end)
  end)
end)
