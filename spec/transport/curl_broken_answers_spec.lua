-- Answers over HTTP/1.1 may be cut, malformed, oversized or endless. A status that has
-- arrived is never lost because of a later error, and never forged by it.

local http1_answers = require "support.http1_answers"
local libcurl = require "support.libcurl"
local wire = require "support.wire"

local answer, ask = http1_answers.answer, http1_answers.ask
local assert_cut, assert_lost, assert_whole =
  http1_answers.assert_cut, http1_answers.assert_lost, http1_answers.assert_whole

local no_content = "HTTP/1.1 204 No Content\r\n\r\n"

-- `{"error":{"code":"Conflict"}}`, by gzip.
local gzipped = "\031\139\008\000\000\000\000\000\002\003\171\086\074\045\042\202\047"
  .. "\082\178\170\086\074\206\079\073\085\178\082\114\206\207\075\203\201"
  .. "\076\046\081\170\173\005\000\115\168\198\011\029\000\000\000"

describe("an answer over HTTP/1.1", function()
  after_each(wire.close)
  teardown(wire.teardown)

  describe("with a malformed head", function()
    it("keeps the status of a head that is larger than 256 KiB", function()
      local long = ("Long: %s\r\n"):format(("x"):rep(90000))
      -- Newer libcurls (seen: 8.21) pass a line on when the next one has begun, which might continue it.
      local head = "HTTP/1.1 500 X\r\n" .. long:rep(3) .. "A"
      assert_cut(answer(head), 500, "CURLE_FILESIZE_EXCEEDED")
    end)

    it("abandons a head without end", function()
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

    it("ignores half a header", function()
      local outcome = answer("HTTP/1.1 429 X\r\nA: 1\r\nRetry-After: 12", "close")
      assert_cut(outcome, 429, "CURLE_WEIRD_SERVER_REPLY")
      assert.are.same({ a = "1" }, outcome.response.headers)
    end)

    it("does not take a second status line in it for the status", function()
      local outcome =
        answer "HTTP/1.1 500 Error\r\nHTTP/1.1 204 No: Content\r\nContent-Length: 0\r\n\r\n"
      assert.are.equal(500, outcome.status)
    end)

    it("refuses a header with a NUL, and one without a colon, but keeps the status", function()
      -- Older ones read past such a line, and then wait for a body.
      local name = libcurl.is_between "7.83" and "CURLE_WEIRD_SERVER_REPLY"
        or "CURLE_OPERATION_TIMEDOUT"
      local how = { total = not libcurl.is_between "7.83" and 0.3 or nil }
      assert_cut(answer("HTTP/1.1 500 X\r\nA: x\0y\r\n\r\n", nil, how), 500, name)
      assert_cut(answer("HTTP/1.1 500 X\r\nno colon\r\n\r\n", nil, how), 500, name)
    end)

    it("is lost when there is garbage before the status line", function()
      for _, garbage in ipairs { "garbage\r\n", "\r\n\r\n", "\0", "<html>\n" } do
        assert_lost(answer(garbage .. no_content, "close"), "CURLE_UNSUPPORTED_PROTOCOL")
      end
    end)

    it("is not accepted as HTTP/0.9", function()
      assert_lost(answer("<html>204 No Content</html>\n", "close"), "CURLE_UNSUPPORTED_PROTOCOL")
    end)

    it("is not accepted with a version or a status that does not exist", function()
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

  describe("with a malformed body", function()
    it("is a 204 even if a body comes with it", function()
      assert_whole(answer "HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\nhello", 204)
      assert_whole(
        answer "HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        204
      )
    end)

    it("keeps the status and the beginning of a body that is cut", function()
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

    it("keeps the status when the chunks or the length are invalid", function()
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

    it("is decoded if possible, even if no encoding was asked for", function()
      local head = "HTTP/1.1 409 X\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
      local outcome = answer(head:format(#gzipped) .. gzipped)
      assert_whole(outcome, 409, '{"error":{"code":"Conflict"}}')
      assert.is_nil(outcome.server.requests[1].headers["accept-encoding"])
      outcome = answer "HTTP/1.1 204 X\r\nContent-Encoding: unheard-of\r\n\r\n"
      assert_whole(outcome, 204)
    end)

    it("keeps the status if its encoding cannot be decoded, and names that", function()
      for _, encoding in ipairs { "gzip", "unheard-of" } do
        local head = "HTTP/1.1 500 X\r\nContent-Encoding: %s\r\nContent-Length: 5\r\n\r\nhello"
        local outcome = answer(head:format(encoding))
        assert_cut(outcome, 500, "CURLE_BAD_CONTENT_ENCODING")
        local wanted = "the body has the content encoding '%s', which cannot be read"
        assert.are.equal(wanted:format(encoding), outcome.network.message)
      end
    end)

    it("has its limit even if it is only long when it is decompressed", function()
      local pipe = assert(io.popen "head -c 3000000 /dev/zero | gzip -9 -c")
      local bomb = pipe:read "*a"
      pipe:close()
      local head = "HTTP/1.1 500 X\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
      local outcome = answer(head:format(#bomb) .. bomb)
      assert_cut(outcome, 500, "CURLE_FILESIZE_EXCEEDED")
      assert.are.equal(1024 * 1024, #outcome.response.body)
    end)

    it("keeps the status when its transfer coding cannot be decoded", function()
      for _, coding in ipairs { "gzip, chunked", "unheard-of" } do
        local head = "HTTP/1.1 429 X\r\nRetry-After: 5\r\nTransfer-Encoding: %s\r\n\r\n"
        local coded = "5\r\nhello\r\n0\r\n\r\n"
        local outcome = answer(head:format(coding) .. coded, "close")
        if libcurl.is_between("8.1", "8.13") and not outcome.network then
          assert_whole(outcome, 429, coded) -- it takes no notice of the coding
        else
          assert_cut(outcome, 429, "CURLE_BAD_CONTENT_ENCODING")
        end
        assert.are.equal("5", outcome.response.headers["retry-after"])
      end
    end)

    it("takes no header and no status from the trailers", function()
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

    it("is whole when it has exactly that size", function()
      local text = "HTTP/1.1 503 X\r\nContent-Length: 1000\r\n\r\n" .. ("x"):rep(1000)
      assert_whole(answer(text, nil, how), 503, ("x"):rep(1000))
    end)

    it("keeps the status and the first bytes, with a length", function()
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

    it("may have no byte at all if the ceiling is 0", function()
      local none = { http = { max_body = 0 } }
      assert_whole(answer("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", nil, none), 503)
      local outcome = answer("HTTP/1.1 503 X\r\nContent-Length: 1\r\n\r\nx", nil, none)
      assert_cut(outcome, 503, "CURLE_FILESIZE_EXCEEDED")
      assert.are.equal("", outcome.response.body)
    end)
  end)

  describe("that stalls", function()
    it("keeps the status when it stalls after it", function()
      local stalled = {
        "HTTP/1.1 429 X\r\nRetry-After: 5\r\n",
        "HTTP/1.1 429 X\r\nRetry-After: 5\r\nContent-Length: 9\r\n\r\nhalf",
      }
      for _, text in ipairs(stalled) do
        local outcome = wire.run_out("answered", 0.15, function(seconds)
          return answer(text, "stall", { total = seconds })
        end)
        assert_cut(outcome, 429, "CURLE_OPERATION_TIMEDOUT")
        assert.is_true(outcome.network.timeout)
        assert.are.equal("5", outcome.response.headers["retry-after"])
      end
    end)

    it("is lost when it stalls before it", function()
      for _, text in ipairs { "", "HTTP/1.1 20", "HTTP/1.1 100 Continue\r\n\r\n" } do
        local outcome = wire.run_out("sent", 0.15, function(seconds)
          return answer(text, "stall", { total = seconds })
        end)
        assert_lost(outcome, "CURLE_OPERATION_TIMEDOUT")
      end
    end)

    it("does not exceed its time when it drips", function()
      local function drip(connection)
        connection:read_head()
        connection:send "HTTP/1.1 200 X\r\n\r\n"
        while true do
          connection:send "x"
          connection:wait()
        end
      end
      local outcome = wire.run_out("answered", 0.15, function(seconds)
        return ask(drip, { total = seconds })
      end)
      assert_cut(outcome, 200, "CURLE_OPERATION_TIMEDOUT")
    end)
  end)
end)
