-- Claims challenges: from the headers of a 401 to the claims for the token endpoint.

local base64url = require "autopilot.base.base64url"
local cjson = require "cjson"
local claims = require "autopilot.base.claims"

local seeded_random = require "support.seeded_random"

local wanted = '{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}'

local function bearer(parameters)
  return 'Bearer realm="", authorization_uri="https://login.example/authorize", ' .. parameters
end

local function challenge(encoded)
  return bearer(('error="insufficient_claims", claims="%s"'):format(encoded))
end

local function with_capability(access_token)
  access_token.xms_cc = { values = { "cp1" } }
  return { access_token = access_token }
end

local expected = with_capability { nbf = { essential = true, value = "1604106651" } }

local function read(header)
  local text = claims.of_header(header)
  return text and cjson.decode(text)
end

describe("a claims challenge", function()
  it("gives the claims it wants, with this client's capability", function()
    assert.same(expected, read(challenge(base64url.encode(wanted))))
  end)

  it("is read in base64 and base64url, with padding or without", function()
    -- Bytes whose encoding differs between the two alphabets.
    local text = '{"access_token":{"a":{"value":"~~>?\195\191\195\190?"}}}'
    local value = "~~>?\195\191\195\190?"
    local encoded = base64url.encode(text)
    local standard = encoded:gsub("-", "+"):gsub("_", "/")
    assert.is_truthy(encoded:find "[-_]")
    for _, form in ipairs {
      encoded,
      encoded .. ("="):rep(-#encoded % 4),
      standard,
      standard .. ("="):rep(-#standard % 4),
    } do
      assert.same(with_capability { a = { value = value } }, read(challenge(form)))
    end
  end)

  it("is found among several challenges in several headers", function()
    local good = challenge(base64url.encode(wanted))
    for _, header in ipairs {
      'Basic realm="x", ' .. good,
      good .. ', Negotiate, PoP nonce="abc"',
      'Negotiate YWJj, Bearer error="invalid_token", ' .. good,
      challenge "broken" .. ", " .. good,
      'PoP error="insufficient_claims", claims="e30", ' .. good,
      (good:gsub("Bearer", "bEaReR")),
    } do
      assert.same(expected, read(header), header)
    end
  end)

  it("is read when what follows it is malformed", function()
    assert.same(expected, read(challenge(base64url.encode(wanted)) .. ', Digest =,"'))
  end)

  it("is read when what stands before it is malformed, in the same header or another", function()
    local good = challenge(base64url.encode(wanted))
    for _, broken in ipairs {
      'Digest =,"',
      'Digest realm="no end',
      "Basic realm=\0",
      "Basic realm=C:\\",
      "Bearer realm==x",
      'Bearer error="insufficient_claims", claims="no end',
      ("Bearer =,"):rep(5),
    } do
      assert.same(expected, read(broken .. ", " .. good), broken)
      assert.same(expected, read(broken .. "," .. good:gsub("Bearer", "bearer")), broken)
    end
  end)

  it("is not looked for in what a well-formed challenge quotes", function()
    local inside = "Bearer error=insufficient_claims, claims=" .. base64url.encode(wanted)
    assert.same(expected, read(inside))
    assert.is_nil(read('Basic realm="x, ' .. inside .. ', y"'))
  end)

  it("is looked for a bounded number of times in a hostile header", function()
    local good = challenge(base64url.encode(wanted))
    assert.same(expected, read("=" .. (", Bearer @"):rep(15) .. ", " .. good))
    assert.is_nil(read("=" .. (", Bearer @"):rep(17) .. ", " .. good))
  end)

  it("is read behind values without names, and behind parameters of any other scheme", function()
    local good = challenge(base64url.encode(wanted))
    for _, other in ipairs {
      "Negotiate",
      "NTLM TlRMTVNTUAAC+/==,,",
      'Basic realm="a, b=c" , charset = UTF-8',
      [[X a="say \"hi\", \\ \x", b="", c="\\"]],
      "X a=1, X a=2",
      ("Basic,"):rep(20000),
      ("S"):rep(50000),
      'X a="' .. ('x\\"'):rep(50000) .. '"',
    } do
      assert.same(expected, read(other .. ", " .. good), other:sub(1, 80))
    end
  end)

  it("is read without the backslashes of quoted pairs, in letters of any size", function()
    local encoded = base64url.encode(wanted)
    local escaped = encoded:gsub("[Mm]", "\\%0")
    assert.same(expected, read(('BEARER Claims="%s"'):format(escaped)))
    assert.same(expected, read(("bearer CLAIMS = %s"):format(encoded)))
  end)

  it("is the first of repeated parameters, and one for each challenge", function()
    local encoded, other = base64url.encode(wanted), base64url.encode "{}"
    assert.same(expected, read(('Bearer claims="%s", claims="%s"'):format(encoded, other)))
    assert.is_nil(read(('Bearer claims="", claims="%s"'):format(encoded)))
    assert.same(expected, read(('Bearer claims="", Bearer claims="%s"'):format(encoded)))
  end)

  it("is answered with any error code, and without one", function()
    local encoded = base64url.encode(wanted)
    local answer = claims.of_header(challenge(encoded))
    assert.is_string(answer)
    for _, header in ipairs {
      bearer(('error="invalid_token", claims="%s"'):format(encoded)),
      bearer(('claims="%s"'):format(encoded)),
      bearer 'error="invalid_token"' .. ", " .. bearer(('error="x", claims="%s"'):format(encoded)),
    } do
      assert.equal(answer, claims.of_header(header), header)
    end
  end)

  it("is not found under another scheme, or in what cannot be read", function()
    local encoded = base64url.encode(wanted)
    for _, header in ipairs {
      "",
      "Bearer",
      bearer 'error="invalid_token"',
      bearer 'error="insufficient_claims"',
      ('Basic error="insufficient_claims", claims="%s"'):format(encoded),
      challenge "",
      challenge "%%%",
      challenge "e30=====",
      challenge(base64url.encode "no JSON"),
      challenge(base64url.encode "null"),
      challenge(base64url.encode "[1]"),
      challenge(base64url.encode '"text"'),
      challenge(base64url.encode '{"access_token":5}'),
      challenge(base64url.encode '{"access_token":["x"]}'),
      challenge(base64url.encode '{"access_token":{"a":1e999}}'),
      challenge(base64url.encode('{"a":' .. ("["):rep(2000))),
      challenge(base64url.encode('{"a":"' .. ("x"):rep(20000) .. '"}')),
      'Bearer error="insufficient_claims", claims="' .. encoded, -- no closing quote
      "\0\1\2",
      ", ,",
      "claims=" .. encoded,
      'Bearer claims="' .. encoded .. '\0"',
      'Bearer claims="' .. encoded .. '"; x',
      'Bearer claims="' .. encoded .. '\r\nSet-Cookie: c"',
      ("("):rep(100000),
    } do
      assert.is_nil(claims.of_header(header), header)
    end
  end)

  it("is not found in a header that is not a text", function()
    assert.is_nil(claims.of_header(nil))
    assert.is_nil(claims.of_header(5))
  end)
end)

describe("the client's capability", function()
  local function merged(text)
    return cjson.decode(claims.merge(text))
  end

  it("stands alone when no claims are requested", function()
    assert.same(with_capability {}, merged "{}")
    assert.same(with_capability {}, merged '{"access_token":null}')
  end)

  it("leaves everything else as it is", function()
    local text = [[{"id_token":{"auth_time":{"essential":true}},
      "access_token":{"acrs":{"essential":true,"value":"c1"},"n":{"value":12345678901234},
      "anything":null}}]]
    local request = merged(text)
    assert.same({ auth_time = { essential = true } }, request.id_token)
    assert.same({ essential = true, value = "c1" }, request.access_token.acrs)
    assert.equal(12345678901234, request.access_token.n.value)
    assert.equal(cjson.null, request.access_token.anything)
    assert.same({ "cp1" }, request.access_token.xms_cc.values)
  end)

  it("is added to others, and not twice", function()
    for text, values in pairs {
      ['{"access_token":{"xms_cc":{"values":["cp9"]}}}'] = { "cp9", "cp1" },
      ['{"access_token":{"xms_cc":{"values":["cp1"]}}}'] = { "cp1" },
      ['{"access_token":{"xms_cc":{"values":"cp1"}}}'] = { "cp1" },
      ['{"access_token":{"xms_cc":{"values":{"a":1}}}}'] = { "cp1" },
      ['{"access_token":{"xms_cc":null}}'] = { "cp1" },
    } do
      assert.same(values, merged(text).access_token.xms_cc.values, text)
    end
  end)

  it("is not added to text that is not a claims request", function()
    for _, text in ipairs { "", "x", "[]", "5", "{", '{"access_token":"x"}' } do
      assert.is_nil(claims.merge(text), text)
    end
  end)
end)

describe("a claims challenge in a random header", function()
  local random = seeded_random.new "CLAIMS_SEED"

  local function text_of(characters, longest)
    local parts = {}
    for index = 1, random:integer(0, longest) do
      local at = random:integer(1, #characters)
      parts[index] = characters:sub(at, at)
    end
    return table.concat(parts)
  end

  local letters = "abcdefghijklmnopqrstuvwxyz"

  local function random_request()
    local request = {}
    for _ = 1, random:integer(1, 4) do
      local value =
        { value = text_of('~?>|x /\\"\195\169', 12), essential = random:integer(0, 1) == 1 }
      request["k" .. text_of(letters, 4)] = value
    end
    return { access_token = request }
  end

  local function encoded(text)
    local url = base64url.encode(text)
    local form = random:integer(1, 4)
    local standard = form > 2 and url:gsub("-", "+"):gsub("_", "/") or url
    return form % 2 == 0 and standard .. ("="):rep(-#standard % 4) or standard
  end

  local others = {
    "Negotiate",
    "Negotiate YWJj==",
    'Basic realm="a, b"',
    'Bearer realm="", error="invalid_token", error_description="x, Bearer \\"y\\""',
    'PoP nonce="abc", claims="e30"',
    'Digest qop="auth,auth-int", nonce=abc',
    "",
  }

  local function random_challenge(request)
    local parameters = {
      'realm=""',
      'error="insufficient_claims"',
      ('claims="%s"'):format(encoded(cjson.encode(request))),
      'authorization_uri="https://login.example/authorize"',
    }
    for index = #parameters, 2, -1 do
      local other = random:integer(1, index)
      parameters[index], parameters[other] = parameters[other], parameters[index]
    end
    return "Bearer " .. table.concat(parameters, random:pick { ", ", ",", " , " })
  end

  it("is found in every header, among all the others, in every encoding", function()
    for _ = 1, 500 do
      local request = random_request()
      local list = {}
      for index = 1, random:integer(1, 5) do
        list[index] = random:pick(others)
      end
      list[random:integer(1, #list)] = random_challenge(request)
      local header = table.concat(list, ", ")
      request.access_token.xms_cc = { values = { "cp1" } }
      assert.same(request, read(header), tostring(random) .. " " .. header)
    end
  end)

  it("never raises, and gives a claims request or nothing", function()
    local pieces = {
      "Bearer ",
      "bearer",
      " ",
      ",",
      ", ",
      "=",
      '"',
      '\\"',
      "claims=",
      'claims="',
      "error=",
      'error="insufficient_claims"',
      "insufficient_claims",
      "e30",
      "e30=",
      "W10",
      "%",
      "\0",
      "\r\n",
      "\255",
      "eyJhY2Nlc3NfdG9rZW4iOm51bGx9",
      "eyJhY2Nlc3NfdG9rZW4iOnsieG1zX2NjIjo1fX0",
    } -- {"access_token":null}, {"access_token":{"xms_cc":5}}
    for _ = 1, 5000 do
      local parts = {}
      for index = 1, random:integer(0, 14) do
        parts[index] = random:pick(pieces)
      end
      local header = table.concat(parts)
      local ok, result = pcall(claims.of_header, header)
      assert(ok, ("%s %q: %s"):format(tostring(random), header, tostring(result)))
      if result then
        assert.same({ "cp1" }, cjson.decode(result).access_token.xms_cc.values, tostring(random))
      end
    end
  end)
end)
