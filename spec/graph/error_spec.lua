-- Every known form of a refusal is read: code, sentence, reason and ids, at any depth.

local error_bodies = require "support.error_bodies"
local graph_error = require "autopilot.graph.error"

local graph, quoted = error_bodies.graph, error_bodies.quoted

describe("autopilot.graph.error.parse", function()
  it("reads Graph's own form", function()
    local body = graph("BadRequest", "Request not applicable to target tenant.")
    assert.same({
      code = "BadRequest",
      message = "Request not applicable to target tenant.",
      request_id = error_bodies.request_id,
    }, graph_error.parse(body, "application/json"))
  end)

  it("finds the missing permission in every wrapping of the refusal", function()
    for name, body in pairs(error_bodies.forbidden) do
      local found = graph_error.parse(body)
      assert.equal(error_bodies.sentence, found.message, name)
      assert.equal(table.concat(error_bodies.permissions, ", "), found.reason, name)
      assert.equal(error_bodies.activity_id, found.activity_id, name)
      assert.same(error_bodies.permissions, graph_error.missing_permissions(found), name)
      assert.is_true(graph_error.is_forbidden(found), name)
      assert.is_false(graph_error.says(found, "not_licensed"), name)
      assert.is_nil(found.retry_after, name)
      if body:find "Forbidden" then
        assert.equal("Forbidden", found.code, name)
      end
    end
  end)

  it("gives the innermost specific code", function()
    local wrapped = error_bodies.wrapped
    local odata = '{"code":"Gone","message":{"lang":"en","value":"It is gone"}}'
    local bodies = {
      [graph("UnknownError", wrapped("Forbidden", "An error has occurred"))] = "Forbidden",
      [graph("Forbidden", wrapped("UnknownError", "An error has occurred"))] = "Forbidden",
      [graph("UnknownError", wrapped("Conflict", "{}"))] = "Conflict",
      [graph("UnknownError", "An error has occurred")] = "UnknownError",
      [graph("BadRequest", '{"code":0,"message":"No"}')] = "BadRequest",
      ['{"error":{"code":429}}'] = "429",
      ['{"error":{"code":"UnknownError","innerError":{"code":"busy"}}}'] = "busy",
      ['{"code":"A","message":"Without the wrapper"}'] = "A",
      ['{"odata.error":' .. odata .. "}"] = "Gone",
    }
    for body, code in pairs(bodies) do
      assert.equal(code, graph_error.parse(body).code, body)
    end
    assert.equal("It is gone", graph_error.parse(odata).message)
    assert.is_nil(graph_error.parse('{"code":4.5}').code)
    assert.is_nil(graph_error.parse('{"code":"' .. ("a"):rep(129) .. '"}').code)
  end)

  it("gives the code of the inner error or of the first detail as the reason", function()
    local inner = '{"error":{"code":"accessDenied","message":"No","innerError":{"code":"outer",'
      .. '"innererror":{"code":"innermost","request-id":"abc-1"}}}}'
    local found = graph_error.parse(inner)
    assert.same({ "accessDenied", "innermost" }, { found.code, found.reason })
    assert.equal("abc-1", found.request_id)

    local details = '{"error":{"code":"invalidRequest","message":"No","details":['
      .. 'null,7,{"code":"first","message":"One"},{"code":"second","message":"Two"}]}}'
    found = graph_error.parse(details)
    assert.same({ "invalidRequest", "No", "first" }, { found.code, found.message, found.reason })

    local silent = '{"error":{"code":"invalidRequest","message":"","details":['
      .. '{"message":"One"},{"message":"Two"}]}}'
    found = graph_error.parse(silent)
    assert.same({ "One", "Two" }, { found.message, found.reason })
  end)

  it("gives a further sentence as the reason if there is no further code", function()
    local reasoned = '{"error":{"code":"A","message":"No","innerError":{"message":"%s"}}}'
    local found = graph_error.parse(reasoned:format "Since so")
    assert.equal("Since so", found.reason)
    assert.is_nil(graph_error.parse(reasoned:format "No").reason)
    local only = '{"error":{"code":"UnknownError","message":"No","innerError":{"code":"busy"}}}'
    assert.is_nil(graph_error.parse(only).reason)
    found = graph_error.parse '{"Message":"No","CustomApiErrorPhrase":"Quota used up"}'
    assert.equal("Quota used up", found.reason)
  end)

  it("reads Entra's form", function()
    assert.same({
      code = "invalid_client",
      message = "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is "
        .. "the client secret value.",
      reason = "AADSTS7000215",
      request_id = "b3d1c0de-0000-4000-8000-000000000000",
    }, graph_error.parse(error_bodies.entra))
    assert.equal("AADSTS65001", graph_error.parse('{"error":"x","error_codes":[65001]}').reason)
    assert.is_nil(graph_error.parse("AADSTS123456789 is no number of Entra").reason)
    assert.same({ code = "invalid_scope" }, graph_error.parse '{"error":"invalid_scope"}')
    assert.same({ message = "It broke." }, graph_error.parse '{"error":"It broke."}')
  end)

  it("takes the Activity ID, or an Operation ID that is not all zeros", function()
    local zeros = "00000000-0000-0000-0000-000000000000"
    local id = "2578f4a3-00e0-4699-bde7-e699fabc1086"
    local ids = {
      ["No - Operation ID (for customer support): " .. id .. " - Url: x"] = id,
      ["No - Operation ID (for customer support): " .. id .. " - Activity ID: " .. zeros] = id,
      ["No - Operation ID (for customer support): " .. zeros .. " - Activity ID: " .. id] = id,
      ["No - Activity ID: " .. id] = id,
      ["No\n- Operation ID (for\ncustomer support): " .. zeros .. "\n- Activity ID:\n" .. id] = id,
    }
    for text, expected in pairs(ids) do
      local found = graph_error.parse(text)
      assert.same({ message = "No", activity_id = expected }, found)
    end
    for _, wrong in ipairs { zeros, id:sub(1, 35), ("a"):rep(36), "see the log", "" } do
      assert.same({ message = "No" }, graph_error.parse("No - Activity ID: " .. wrong))
    end
    assert.same({ activity_id = id }, graph_error.parse(" - Operation ID: x - Activity ID: " .. id))
  end)

  it("reads RetryAfter as a number or as text, the longest of several levels", function()
    local values =
      { ["120"] = 120, ["2.5"] = 2.5, ['"120"'] = 120, ['" 2.128 "'] = 2.128, ["0"] = 0 }
    for value, seconds in pairs(values) do
      local body = graph("TooManyRequests", error_bodies.intune_object("Too soon", value))
      assert.equal(seconds, graph_error.parse(body).retry_after, value)
    end
    local outer = graph("A", error_bodies.intune_object("Too soon", "60"), '"RetryAfter":"90"')
    assert.equal(90, graph_error.parse(outer).retry_after)
    outer = graph("A", error_bodies.intune_object("Too soon", "60"), '"retryAfter":30')
    assert.equal(60, graph_error.parse(outer).retry_after)
    assert.equal(2 ^ 31, graph_error.parse('{"Message":"No","RetryAfter":1e300}').retry_after)
  end)

  it("takes no other field for a RetryAfter", function()
    for _, value in ipairs {
      "null",
      "-1",
      "1e999",
      "NaN",
      "true",
      "[60]",
      '{"a":1}',
      '""',
      '"soon"',
      '"1e3"',
      '"0x10"',
      '"-5"',
      '"Sat, 06 Nov 2094 08:49:37 GMT"',
    } do
      local found = graph_error.parse('{"Message":"Too soon","RetryAfter":' .. value .. "}")
      assert.same({ message = "Too soon" }, found, value)
    end
  end)

  it("takes the title of a page, else its heading, else its text", function()
    local head = "<!DOCTYPE html>\n<html><head>\n"
    local unavailable = "<html><body><b>Http/1.1 Service Unavailable</b></body> </html>"
    local pages = {
      [head .. "<TITLE lang=en>503 Out\r\n of order</TITLE></head><h1>X"] = "503 Out of order",
      [head .. "<title> </title><h1 class='a'>Bad <b>Gateway</b></h1><p>nginx"] = "Bad Gateway",
      ["<html><body><h2>403 - Forbidden: No.</h2><h3>You"] = "403 - Forbidden: No.",
      ["<html><body><p>First</p><h3>You do not"] = "You do not",
      [unavailable] = "Http/1.1 Service Unavailable",
      ["<title>a &amp; b &lt;&quot;&#39;&nbsp;&gt; &who;</title>"] = "a & b <\"' > &who;",
      ["<titlebar>no</titlebar><title>Yes"] = "Yes",
      ["<body>Words<script>var a = 1;</script>"] = "Words",
      ["<body>Words<style>p { }</style>"] = "Words",
    }
    for page, message in pairs(pages) do
      assert.same({ message = message }, graph_error.parse(page, nil))
      assert.same({ message = message }, graph_error.parse(page, "text/html"))
    end
    local script = "<html><body><script>var a;</script></body></html>"
    assert.same({}, graph_error.parse(script, "text/html"))
    local down = graph_error.parse("Down <i>for</i> now", "Text/HTML; charset=x")
    assert.same({ message = "Down for now" }, down)
  end)

  it("reads JSON with the type of a page, and a page inside JSON", function()
    assert.equal("Forbidden", graph_error.parse(error_bodies.forbidden.intune, "text/html").code)
    local page = graph("A", "<html><title>Bad Gateway</title>")
    assert.equal("Bad Gateway", graph_error.parse(page).message)
    assert.equal("Oops", graph_error.parse("{}<html><title>Oops</title>").message)
  end)
end)

describe("a service error", function()
  it("is found in four levels of nested JSON, and no deeper", function()
    local body = '{"ErrorCode":"Forbidden","Message":"No way"}'
    for level = 0, 4 do
      assert.equal("Forbidden", graph_error.parse(body).code, level)
      assert.equal("No way", graph_error.parse(body).message, level)
      body = '{"Message":' .. quoted(body) .. "}"
    end
    assert.is_nil(graph_error.parse(body).code)
    assert.matches("^{", graph_error.parse(body).message)
  end)
end)
