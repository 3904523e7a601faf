-- From an odd, malformed or truncated body as much as possible is read, as one line of whole characters.

local error_bodies = require "support.error_bodies"
local graph_error = require "autopilot.graph.error"

local graph = error_bodies.graph

describe("autopilot.graph.error.parse of a sentence", function()
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

  it("replaces bytes that are not UTF-8 by U+FFFD", function()
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

  it("omits the name of a permission that was cut", function()
    local text = error_bodies.words(error_bodies.sentence .. ", Last.Read.All")
    local body = graph("Forbidden", error_bodies.intune_object(text))
    local cut = graph_error.parse(body:sub(1, body:find("Last.Read", 1, true) + 8))
    assert.matches("Last%.Read\226\128\166$", cut.message)
    assert.same(error_bodies.permissions, graph_error.missing_permissions(cut))
  end)
end)

describe("autopilot.graph.error.parse of malformed bodies", function()
  it("reads what it can of malformed JSON", function()
    local bodies = {
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

  it("reads the members before the cut", function()
    local before = '{"error":"invalid_grant","error_description":"AADSTS65001: No consent.",'
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

  it("takes the first of several equal members in malformed JSON", function()
    local body = '{"error":{"code":"first","message":"No","x":{"code":"second"}},x}'
    assert.equal("first", graph_error.parse(body).code)
  end)

  it("skips a byte order mark", function()
    local page = "<html><title>Oops</title>"
    assert.equal("Oops", graph_error.parse("\239\187\191" .. page).message)
    assert.equal("Oops", graph_error.parse("\255\254" .. page:gsub(".", "%0\0")).message)
  end)

  it("reads only the first 64 KiB", function()
    local body = '{"error":{"code":"A"}}'
    assert.equal("A", graph_error.parse((" "):rep(65536 - #body) .. body).code)
    assert.same({}, graph_error.parse((" "):rep(65536) .. body))
  end)

  it("reads the ASCII characters of UTF-16", function()
    local body = '{"error":{"code":"Forbidden","message":"No way"}}'
    local little, big = body:gsub(".", "%0\0"), body:gsub(".", "\0%0")
    for _, form in ipairs { "\255\254" .. little, "\254\255" .. big } do
      local found = graph_error.parse(form)
      assert.same({ "Forbidden", "No way" }, { found.code, found.message })
    end
  end)

  it("finds a known code in text that is not JSON", function()
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

  it("gives nothing for an empty body", function()
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
