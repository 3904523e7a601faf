-- Secrets in texts that are not encoded, texts that look like tokens, and the cost. Encoded ones: redact_encoded_spec.lua.

local SeededRandom = require "support.seeded_random"
local redact = require "autopilot.base.redact"

-- How many times slower than usual all is here, under valgrind, say.
local patience = tonumber(os.getenv "SPEC_PATIENCE")

local header = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9"
local claims = "eyJhdWQiOiJodHRwczovL2dyYXBoLm1pY3Jvc29mdC5jb20ifQ"
local signature = "Sgn4tur3-of_the.token" -- with a dot, so that a part is shorter than 16
local jwt = header .. "." .. claims .. "." .. signature
local opaque = "Q~s3cr3t/with+every=kind&of \"character\" \\ and 100% 'more'"

describe("autopilot.base.redact.text", function()
  it("returns a text without secrets unchanged, and any other value, too", function()
    local id = "a1b2c3d4-e5f6-4a7b-8c9d-0e1f2a3b4c5d"
    for _, text in ipairs { "", "short", id, "100 % \\ no harm" } do
      assert.equal(text, redact.text(text, { jwt, opaque }))
      assert.equal(text, redact.text(text, nil))
      assert.equal(text, redact.text(text, {}))
    end
    assert.is_nil(redact.text(nil, { jwt }))
    assert.equal(7, redact.text(7, { jwt }))
  end)

  it("takes every occurrence of every secret out and leaves the rest", function()
    local text = "a" .. opaque .. "b " .. jwt .. "," .. opaque
    assert.equal("a[redacted]b [redacted],[redacted]", redact.text(text, { opaque, jwt }))
    assert.equal("[redacted]", redact.text(opaque, { opaque }))
  end)

  it("ignores entries of the list that are not secrets", function()
    assert.equal("x[redacted]y", redact.text("x" .. opaque .. "y", { false, "", 7, {}, opaque }))
    assert.equal("x[redacted]y", redact.text("x" .. opaque .. "y", { nil, opaque }))
  end)

  it("takes secrets literally, not as patterns", function()
    local magic = "%a+.-[^x]*$(%d)?"
    assert.equal("letters [redacted]!", redact.text("letters " .. magic .. "!", { magic }))
    assert.equal("letters and 1234567890", redact.text("letters and 1234567890", { magic }))
  end)

  it("takes out a short secret in a short text", function()
    assert.equal("pin [redacted].", redact.text("pin hunter2.", { "hunter2" }))
    assert.equal("[redacted]", redact.text("1234", { "1234" }))
    assert.equal("x[redacted]x", redact.text("x1234x", { "1234" }))
    assert.equal("x[redacted]x", redact.text("xeyJ1x", { "eyJ1" }))
  end)

  it("takes out a secret of a few letters only where it is a whole word", function()
    assert.equal("the [redacted] of it, [redacted]", redact.text("the t of it, t", { "t" }))
    assert.equal("[redacted]-[redacted] abcd xabc", redact.text("abc-abc abcd xabc", { "abc" }))
  end)

  it("removes a secret that is empty when decoded", function()
    assert.equal("a [redacted] b", redact.text("a \\ b", { "\\" }))
    assert.equal("a b", redact.text("a b", { "\\\\", "&shy;" }))
  end)

  it("withholds a text with a beginning of at least 16 characters", function()
    for length = 16, #opaque - 1 do
      local text = "'" .. opaque:sub(1, length) .. "\1 cut"
      assert.equal("[redacted]", redact.text(text, { opaque }))
    end
    local text = "'" .. opaque:sub(1, 15) .. "... cut"
    assert.equal(text, redact.text(text, { opaque }))
  end)

  it("withholds a text with any part, beside the whole secret, too", function()
    local secret = "0123456789abcdefghijklmnopqrstuvwxyz"
    for _, part in ipairs { secret:sub(3, 18), secret:sub(-16), secret:sub(2) } do
      assert.equal("[redacted]", redact.text("<" .. part .. ">", { secret }))
      assert.equal("[redacted]", redact.text(secret .. " and " .. part, { "other", secret }))
    end
    local text = "<" .. secret:sub(3, 17) .. "> " .. secret
    assert.equal("<23456789abcdefg> [redacted]", redact.text(text, { secret }))
  end)

  it("takes a token that was cut off out of a text, and leaves the rest", function()
    for _, length in ipairs { 16, #header, #header + 20, #jwt - 1 } do
      local text = "the token '" .. jwt:sub(1, length) .. "...' is malformed"
      assert.equal("the token '[redacted]...' is malformed", redact.text(text, { "other", jwt }))
    end
    local newer = header .. "." .. claims:reverse() -- tokens of one service begin alike
    assert.equal("got [redacted].", redact.text("got " .. jwt .. ".", { newer, jwt }))
    local beginning, longer = "Bearer " .. opaque:sub(1, 20), "Bearer " .. opaque:sub(1, -2)
    assert.equal("Bearer [redacted]", redact.text(beginning, { opaque }))
    assert.equal("[redacted]", redact.text(longer, { opaque })) -- what is behind `&` does not look like a token
    assert.equal("[redacted]", redact.text(header .. " and " .. claims:sub(4), { jwt }))
  end)

  it("withholds a text with a part in which another secret stands", function()
    local secret = "0123456789abcdefghijklmnopqrstuvwxyz"
    assert.equal("[redacted]", redact.text("<6789abcdefghijklmnop>", { "abcdef", secret }))
    assert.equal("[redacted]", redact.text("<6789abcdefghijklmnop>", { secret, "abcdef" }))
  end)

  it("knows each part of 16 characters between dots, whole or cut", function()
    local token = "part-one-of-sixteen.part-two-of-sixteen.tail.part-four-of-sixteen"
    for _, name in ipairs { "one", "two", "four" } do
      local part = "part-" .. name .. "-of-sixteen"
      assert.equal("[redacted]", redact.text("<" .. part .. ">", { token }))
      assert.equal("[redacted]", redact.text("<" .. part:sub(1, 16) .. ">", { token }))
      assert.equal(
        "<" .. part:sub(1, 15) .. ">",
        redact.text("<" .. part:sub(1, 15) .. ">", { token })
      )
    end
    assert.equal("[redacted]", redact.text("<part-two-of-sixteen.tail.part-four>", { token }))
    assert.equal("the tail of it all", redact.text("the tail of it all", { token }))
    local edges = "head.fifteen-letters.sixteen--letters.fifteen-letterz"
    for _, text in ipairs { "a fifteen-letters b", "a fifteen-letterz b" } do
      assert.equal(text, redact.text(text, { edges }))
    end
    assert.equal("[redacted]", redact.text("a sixteen--letters b", { edges }))
    assert.equal("[redacted]", redact.text("a sixteen--letters b", { "head.sixteen--letters" }))
  end)

  it("removes everything shaped like a JSON Web Token", function()
    assert.equal("got '[redacted]'.", redact.text("got '" .. jwt .. "'.", nil))
    assert.equal(
      "got [redacted].",
      redact.text("got " .. jwt .. ".", { "another secret altogether" })
    )
    assert.equal("[redacted] [redacted]", redact.text(jwt:sub(1, 16) .. " " .. jwt, nil))
    assert.equal("starts with eyJhbGciOiJSUzI", redact.text("starts with eyJhbGciOiJSUzI", nil))
  end)

  it("takes out what follows Bearer", function()
    assert.equal("Bearer [redacted]", redact.text("Bearer 12", nil))
    local text = "authorization: bearer  a+b/c~d==, x; Bearer b2."
    assert.equal("authorization: bearer  [redacted], x; Bearer [redacted].", redact.text(text, nil))
  end)

  it("leaves challenges and sentences about bearers alone", function()
    for _, text in ipairs {
      'Bearer realm="", authorization_uri="https://login.example/authorize"',
      "Bearer error=invalid_token, scope=x",
      "The Bearer token is missing.",
      "Use Bearer authentication.",
      "A forbearer abc of it",
      "The bearer ... of it",
    } do
      assert.equal(text, redact.text(text, { opaque }))
    end
  end)

  it("puts one mark where what it found overlaps", function()
    local text = "Authorization: Bearer " .. jwt .. "!"
    assert.equal(
      "Authorization: Bearer [redacted]!",
      redact.text(text, { jwt, claims, jwt:sub(1, 40) })
    )
    assert.equal("[redacted]", redact.text("abcdefabcdef", { "abcdef" }))
    assert.equal("[redacted]", redact.text("abcdef", { "abcdef", "bcde", "cdef" }))
  end)

  it("changes nothing more in a text that it has made", function()
    local once = redact.text("Bearer " .. jwt .. " " .. opaque, { jwt, opaque })
    assert.equal("Bearer [redacted] [redacted]", once)
    assert.equal(once, redact.text(once, { jwt, opaque }))
  end)

  it("removes a secret in any surroundings", function()
    local random = SeededRandom.new "REDACT_SEED"
    local around =
      { "\\", "%", '"', "a", " ", "eyJ", "Bearer ", "%4", "\\u00", ".", "[redacted]", "\0", "\255" }
    local function noise()
      local parts = {}
      for index = 1, random:integer(0, 6) do
        parts[index] = random:pick(around)
      end
      return table.concat(parts)
    end
    for round = 1, 500 do
      local secret = round % 2 == 0 and opaque or jwt
      local safe = redact.text(noise() .. secret .. noise() .. secret .. noise(), { secret })
      assert.is_nil(safe:find(secret:sub(1, 16), 1, true), tostring(random))
    end
  end)

  it("takes time in proportion to a hostile text", function()
    local size = patience and 2 ^ 16 or 2 ^ 20
    local function filled(with)
      return with:rep(math.floor(size / #with))
    end
    local hostile = {
      filled("a"),
      filled("%41"),
      filled("%"),
      filled("\\"),
      filled("\\x"),
      filled("\\u005c"),
      filled("eyJ"),
      filled("eyJ "),
      "eyJ" .. filled(".") .. "!",
      "Bearer" .. filled(" "),
      filled("Bearer "),
      filled(jwt:sub(1, 16)),
      filled(("ab"):rep(7) .. "c%"),
    }
    local secrets = { jwt, ("a"):rep(15) .. "b" .. ("a"):rep(1800), ("ab"):rep(1000) }
    for index, text in ipairs(hostile) do
      local began = os.clock()
      redact.text(text, secrets)
      -- Quadratic work would take minutes.
      assert.is_true(os.clock() - began < 10 * (patience or 1), "text " .. index)
    end
  end)
end)

describe("autopilot.base.redact.prepare", function()
  local token = header .. "." .. claims:rep(30) .. "." .. ("c2lnbmF0dXJl"):rep(28)
  local id = "a1b2c3d4-e5f6-4a7b-8c9d-0e1f2a3b4c5d"

  it("makes a function that redacts one text after the other", function()
    local safe = redact.prepare { jwt, "hunter2" }
    assert.equal("a [redacted] b", safe("a " .. jwt .. " b"))
    assert.equal("[redacted], [redacted]", safe "hunter2, hunter2")
    assert.equal("hunter3", safe "hunter3")
    assert.equal(id, safe(id))
    assert.is_nil(safe(nil))
    assert.equal("Bearer [redacted] or so", redact.prepare(nil) "Bearer 1234 or so")
  end)

  it("takes out a secret that is hexadecimal itself", function()
    assert.equal("[redacted]", redact.text(id, { id }))
    assert.equal("[redacted]", redact.text(id, { jwt, id }))
    assert.equal("0[redacted]0", redact.text("0cafe0", { "cafe" }))
    assert.equal("[redacted]", redact.text(id:sub(1, 16), { id }))
  end)

  --- Calls `work` and counts the instructions of Lua's machine.
  local function instructions_of(work)
    local jit = package.loaded.jit
    if jit then
      jit.off() -- what is compiled is not counted
      jit.flush() -- nor what was compiled by another test
    end
    local count = 0
    debug.sethook(function()
      count = count + 1
    end, "", 1)
    work()
    debug.sethook()
    if jit then
      jit.on()
    end
    return count
  end

  it("costs little for a text without secrets", function()
    local safe = redact.prepare { token }
    local diagnostics = '{"ServerInfo":{"DataCenter":"West Europe","Slice":"E","Ring":"5"}}'
    local baseline = instructions_of(function() end)
    local function costs_less_than(limit, work)
      local count = instructions_of(work) - baseline
      assert.is_true(count > 0 and count < limit, count .. " instructions")
    end
    safe(id) -- once it is worked out what to search for
    costs_less_than(200, function()
      safe(id)
    end)
    costs_less_than(300, function()
      safe(diagnostics)
    end)
    costs_less_than(300, function()
      redact.text(id, { token })
    end)
  end)
end)
