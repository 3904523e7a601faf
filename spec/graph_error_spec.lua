local error_bodies = require "support.error_bodies"
local graph_error = require "autopilot.graph_error"

local graph, quoted = error_bodies.graph, error_bodies.quoted

describe("autopilot.graph_error.parse", function()
  it("reads Graph's own form", function()
    local body = graph("BadRequest", "Request not applicable to target tenant.")
    assert.same({
      code = "BadRequest",
      message = "Request not applicable to target tenant.",
      request_id = error_bodies.request_id,
      client_request_id = error_bodies.activity_id,
    }, graph_error.parse(body, "application/json"))
  end)

  it("finds the permission that is missing, however the refusal is wrapped", function()
    for name, body in pairs(error_bodies.forbidden) do
      local found = graph_error.parse(body)
      assert.equal(error_bodies.sentence, found.message, name)
      assert.equal(table.concat(error_bodies.permissions, ", "), found.reason, name)
      assert.equal(error_bodies.activity_id, found.activity_id, name)
      assert.same(error_bodies.permissions, graph_error.missing_permissions(found), name)
      assert.is_true(graph_error.is_forbidden(found), name)
      assert.is_false(graph_error.is_not_licensed(found), name)
      assert.is_nil(found.retry_after, name)
      if body:find "Forbidden" then
        assert.equal("Forbidden", found.code, name)
      end
    end
  end)

  it("tells the innermost code that says something", function()
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

  it("gives a further sentence as the reason when there is no further code", function()
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
      client_request_id = "c0de0000-0000-4000-8000-000000000000",
    }, graph_error.parse(error_bodies.entra))
    assert.equal("AADSTS65001", graph_error.parse('{"error":"x","error_codes":[65001]}').reason)
    assert.is_nil(graph_error.parse("AADSTS123456789 is no number of Entra").reason)
    assert.same({ code = "invalid_scope" }, graph_error.parse '{"error":"invalid_scope"}')
    assert.same({ message = "It broke." }, graph_error.parse '{"error":"It broke."}')
  end)

  it("takes the Activity ID, or an Operation ID that is more than zeros", function()
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

  it("does not take anything else for a RetryAfter", function()
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

  it("takes the title of a page, else its heading, else its words", function()
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

  it("reads JSON that claims to be a page, and a page inside JSON", function()
    assert.equal("Forbidden", graph_error.parse(error_bodies.forbidden.intune, "text/html").code)
    local page = graph("A", "<html><title>Bad Gateway</title>")
    assert.equal("Bad Gateway", graph_error.parse(page).message)
    assert.equal("Oops", graph_error.parse("{}<html><title>Oops</title>").message)
  end)

  it("makes one line of a message, without control characters, and trims it", function()
    local greetings = "gr\195\182\195\159er \226\130\172 \240\159\152\128"
    local messages = {
      ["\r\n  two\r\n\tlines \0\1\27[31m\127 \n"] = "two lines [31m",
      ["a1\194\133 b\226\128\168 c\226\128\174 d\239\187\191 e\226\129\167"] = "a1 b c d e",
      [greetings] = greetings,
    }
    for given, expected in pairs(messages) do
      -- One letter alone would not count as words.
      assert.equal("It says " .. expected, graph_error.parse("It says " .. given).message)
    end
  end)

  it("puts U+FFFD in place of bytes that are no UTF-8", function()
    local mark = "\239\191\189"
    local messages = {
      ["bad \255 byte"] = "bad " .. mark .. " byte",
      ["over \192\175 long"] = "over " .. mark .. mark .. " long",
      ["\224\159\191 low"] = mark .. mark .. mark .. " low",
      ["half \237\160\128 pair"] = "half " .. mark .. mark .. mark .. " pair",
      ["high \244\144\128\128 up"] = "high " .. mark .. mark .. mark .. mark .. " up",
      ["\240\143\191\191 low"] = mark .. mark .. mark .. mark .. " low",
      ["\245\128\128\128 up"] = mark .. mark .. mark .. mark .. " up",
      ["cut \226\130"] = "cut " .. mark .. mark,
      ["cut \195 here"] = "cut " .. mark .. " here",
    }
    for given, expected in pairs(messages) do
      assert.equal(expected, graph_error.parse(given).message)
    end
  end)

  it("cuts a message at 1000 characters, never inside one", function()
    for _, letter in ipairs { "a", "\195\182", "\226\130\172", "\240\159\152\128" } do
      local fits = "xx" .. letter:rep(997)
      assert.equal(fits, graph_error.parse(fits).message)
      local long = graph_error.parse("xx" .. letter:rep(2000)).message
      assert.equal("xx" .. letter:rep(997) .. "\226\128\166", long)
    end
  end)

  it("leaves the name of a permission out that was cut", function()
    local text = error_bodies.words(error_bodies.sentence .. ", Last.Read.All")
    local body = graph("Forbidden", error_bodies.intune_object(text))
    local cut = graph_error.parse(body:sub(1, body:find("Last.Read", 1, true) + 8))
    assert.matches("Last%.Read\226\128\166$", cut.message)
    assert.same(error_bodies.permissions, graph_error.missing_permissions(cut))
  end)

  it("reads what it can of JSON that is broken", function()
    local bodies = {
      '{"error":{"code":Forbidden,"message":"No way"}}',
      '{"error":{"code":"Forbidden","message":"No way","x":NaN}}',
      '{"error":{"code":"Forbidden","message":"No way","x":01}}',
      '{"error":{"code":"Forbidden","message":"No way",}}',
      '{"error":{"code":"Forbidden","message":"No way"]}',
      '{"error":{"code":"Forbidden","message":"No way"}',
      '{"error":{"code":"Forbidden","message":"No way" oops',
      '{"error":{"code":"Forbidden","message":"No way","x":"\\ud800"}}',
      '{"error" : {"code"\t:\n"Forbidden", "message":"No way", x: 1}}',
      '{"error":{"code":"Forbidden","message":"No way","x":"\\x"}} trailing',
      '{"error":{"code":"Forbidden","mess\0age":"No way"}}',
      '\239\187\191{"error":{"code":"Forbidden","message":"No way"}}',
    }
    for _, body in ipairs(bodies) do
      local found = graph_error.parse(body)
      assert.same({ "Forbidden", "No way" }, { found.code, found.message }, body)
    end
    assert.equal("No \\x way", graph_error.parse('{"message":"No \\x way"}').message)
    assert.same({ message = "No" }, graph_error.parse '{"code":NaN,"message":"No"}')
    local read = graph_error.parse '{"message":"No","RetryAfter":7.5,"x":NaN}'
    assert.same({ message = "No", retry_after = 7.5 }, read)
  end)

  it("keeps what stands before the cut", function()
    local before = '{"error":"invalid_grant","error_codes":[65001],'
    for _, cut in ipairs {
      "",
      '"x',
      '"x"',
      '"x":',
      '"x":{',
      '"x":{"ke',
      '"x":{"key":1},"b',
      '"x":["v',
      '"x":["v",',
      '"x":[1,{"a":"b"},',
      '"x":tru',
      '"x":-1',
      '"x":"\\',
      '"x":"\\u12',
      '"x":"\\\\u12',
      '"x":' .. ("["):rep(100),
    } do
      local found = graph_error.parse(before .. cut)
      assert.same({ "invalid_grant", "AADSTS65001" }, { found.code, found.reason }, cut)
    end
    local numbers = '{"Message":"No","RetryAfter":60,"Err'
    assert.same({ message = "No", retry_after = 60 }, graph_error.parse(numbers))
    local cut = '{"error":{"code":"A","message":"It is \\u00'
    assert.same({ code = "A", message = "It is \226\128\166" }, graph_error.parse(cut))
  end)

  it("takes the first of several members where the document is broken", function()
    local body = '{"error":{"code":"first","message":"No","x":{"code":"second"}},x}'
    assert.equal("first", graph_error.parse(body).code)
  end)

  it("passes over a byte order mark", function()
    local page = "<html><title>Oops</title>"
    assert.equal("Oops", graph_error.parse("\239\187\191" .. page).message)
    assert.equal("Oops", graph_error.parse("\255\254" .. page:gsub(".", "%0\0")).message)
  end)

  it("looks at the first 64 KiB", function()
    local body = '{"error":{"code":"A"}}'
    assert.equal("A", graph_error.parse((" "):rep(65536 - #body) .. body).code)
    assert.same({}, graph_error.parse((" "):rep(65536) .. body))
  end)

  it("reads UTF-16 as far as it is ASCII", function()
    local body = '{"error":{"code":"Forbidden","message":"No way"}}'
    local little, big = body:gsub(".", "%0\0"), body:gsub(".", "\0%0")
    for _, form in ipairs { "\255\254" .. little, "\254\255" .. big } do
      local found = graph_error.parse(form)
      assert.same({ "Forbidden", "No way" }, { found.code, found.message })
    end
  end)

  it("finds a telling word in what is no JSON at all", function()
    for _, text in ipairs {
      "403 Forbidden",
      "{Forbidden",
      "{'error':{'code':'Forbidden'}}",
      "[[[[ Forbidden",
      "Forbidden: " .. ("{"):rep(40),
    } do
      assert.is_true(graph_error.is_forbidden(graph_error.parse(text)), text)
    end
  end)

  it("has nothing to say about nothing", function()
    local silent = {
      "",
      " \r\n",
      "null",
      "true",
      "{}",
      "[]",
      "[[]]",
      "[null]",
      '""',
      "7",
      '{"error":null}',
      '{"error":[]}',
      '{"error":{"code":null,"message":null,"innerError":null,"details":null}}',
      '{"error":{"code":{},"message":[],"innerError":"x","details":"x"}}',
      '{"error":{"code":true,"message":7,"innerError":7,"details":{"a":1}}}',
      '{"error":{"code":"","message":""}}',
      '{"error":{"code":"not a code","innerError":{"request-id":"not an id"}}}',
      '{"error":{"innerError":{"client-request-id":7}}}',
      '{"error":{"innerError":{"request-id":"00000000-0000-0000-0000-000000000000"}}}',
      "{{{{",
      "[[[[",
      "\0\0\0",
      "\255",
      "- . !",
    }
    for _, body in ipairs(silent) do
      assert.same({}, graph_error.parse(body), body)
    end
    assert.same({}, graph_error.parse(nil))
    for _, wrong in ipairs { 7, true, {} } do
      assert.same({}, graph_error.parse(wrong, wrong))
    end
  end)
end)

describe("autopilot.graph_error.is_forbidden", function()
  it("believes the codes and the sentences for a missing right", function()
    local codes = { "Forbidden", "forbidden", "accessDenied", "Authorization_RequestDenied" }
    for _, code in ipairs(codes) do
      assert.is_true(graph_error.is_forbidden { code = code })
    end
    for _, message in ipairs {
      "Application is not authorized to perform this operation.",
      "User is not authorized to perform this operation",
      "Application must have one of the following scopes: A.B",
      "called in app only context but does not have application permissions configured.",
    } do
      assert.is_true(graph_error.is_forbidden { code = "UnknownError", message = message })
      assert.is_true(graph_error.is_forbidden { code = "Unauthorized", message = message })
      assert.is_true(graph_error.is_forbidden { message = message:upper() })
    end
  end)

  it("believes the mere word only where no code says otherwise", function()
    assert.is_true(graph_error.is_forbidden { message = "(403) Forbidden." })
    assert.is_true(graph_error.is_forbidden { code = "UnknownError", message = "forbidden" })
    local expired = { code = "InvalidAuthenticationToken", message = "Old ones are forbidden." }
    assert.is_false(graph_error.is_forbidden(expired))
    assert.is_false(graph_error.is_forbidden { message = "unforbidden or forbiddenly" })
  end)

  it("is false for anything else, and for no error", function()
    local expired = { code = "InvalidAuthenticationToken", message = "Expired." }
    assert.is_false(graph_error.is_forbidden(expired))
    local vague = { code = "UnknownError", message = "An error has occurred" }
    assert.is_false(graph_error.is_forbidden(vague))
    assert.is_false(graph_error.is_forbidden {})
    assert.is_false(graph_error.is_forbidden(nil))
  end)
end)

describe("autopilot.graph_error.is_not_licensed", function()
  it("knows the sentence, wherever it is wrapped", function()
    local sentence = "Request not applicable to target tenant."
    for _, body in ipairs {
      graph("BadRequest", sentence),
      graph("BadRequest", error_bodies.intune_object(error_bodies.words(sentence))),
      sentence:upper(),
    } do
      assert.is_true(graph_error.is_not_licensed(graph_error.parse(body)))
    end
    assert.is_false(graph_error.is_not_licensed { code = "BadRequest", message = "No" })
    assert.is_false(graph_error.is_not_licensed {})
    assert.is_false(graph_error.is_not_licensed(nil))
  end)
end)

describe("autopilot.graph_error.missing_permissions", function()
  it("lists the names in the service's order", function()
    local intunes = "must have one of the following scopes: "
    local graphs = "Missing scope permissions on the request. API requires one of "
    local messages = {
      [graphs .. "'User.Read.All, A.B'. Scopes on the request 'C.D'"] = { "User.Read.All", "A.B" },
      [intunes .. "A.Read.All, or B.Read.All."] = {
        "A.Read.All",
        "B.Read.All",
      },
      [intunes .. "A.Read.All - Url: https://x.y.z"] = { "A.Read.All" },
      [intunes .. "A.B and then C.D"] = { "A.B" },
      [intunes .. "A.Read.All. Ask.your admin"] = { "A.Read.All" },
      [intunes] = {},
      ["A.Read.All is a nice scope"] = {},
    }
    for message, names in pairs(messages) do
      assert.same(names, graph_error.missing_permissions { message = message })
    end
    local many = "one of the following scopes: " .. ("A.B, "):rep(1000)
    assert.equal(20, #graph_error.missing_permissions { message = many })
    assert.same({}, graph_error.missing_permissions {})
    assert.same({}, graph_error.missing_permissions(nil))
  end)
end)

describe("a service error", function()
  it("is found in four levels of JSON inside JSON, and no further", function()
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
