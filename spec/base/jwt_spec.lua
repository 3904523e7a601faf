-- The claims of a token: read where possible; an unreadable token is no error.

local base64url = require "autopilot.base.base64url"
local inspect = require "autopilot.base.jwt"

local function jwt(payload)
  return ("%s.%s.%s"):format(base64url.encode '{"alg":"RS256"}', base64url.encode(payload), "c2ln")
end

describe("autopilot.token.inspect", function()
  it("tells the claims of a JSON Web Token, without its nulls", function()
    local claims = assert(inspect(jwt [[
      {"aud":"https://graph.microsoft.com","roles":["A.B","C.D"],"exp":1767229200,
       "nothing":null,"no":false,"deep":{"none":null,"some":1}}]]))
    assert.equal("https://graph.microsoft.com", claims.aud)
    assert.same({ "A.B", "C.D" }, claims.roles)
    assert.equal(1767229200, claims.exp)
    assert.is_nil(claims.nothing)
    assert.is_false(claims.no)
    assert.same({ some = 1 }, claims.deep)
  end)

  it("reads a token without a signature", function()
    assert.same({ a = 1 }, inspect(("%s.%s."):format("e30", base64url.encode '{"a":1}')))
  end)

  it("gives nil and a sentence for everything else, and quotes no part of the token", function()
    for _, case in ipairs {
      { nil, "there is no token" },
      { "", "there is no token" },
      { 5, "there is no token" },
      { {}, "there is no token" },
      { true, "there is no token" },
      { "hidden", "opaque" },
      { "hidden.hidden", "opaque" },
      { "hidden.hidden.hidden.hidden.hidden", "opaque" }, -- encrypted (RFC 7516)
      { "a.%%%.c", "opaque" },
      { "a.e31.c", "opaque" }, -- bits left over
      { "a." .. ("A"):rep(70000) .. ".c", "too large" },
      { jwt "hidden", "no JSON object" },
      { jwt '"hidden"', "no JSON object" },
      { jwt '["hidden"]', "no JSON object" },
      { jwt '{"hidden":', "no JSON object" },
      { jwt '{"hidden":NaN}', "no JSON object" },
      { jwt('{"a":' .. ("["):rep(5000)), "no JSON object" },
      { jwt "null", "no JSON object" },
    } do
      local claims, message = inspect(case[1])
      assert.is_nil(claims)
      assert.is_truthy(message:find(case[2], 1, true), message)
      assert.is_nil(message:find "hidden")
    end
  end)

  it("does not confuse claims whose text looks alike", function()
    for payload, expected in pairs {
      ['{"aud":"a","exp":12,"roles":["A.B","C.D"],"tid":"t","ver":"1.0"}'] = {
        aud = "a",
        exp = 12,
        roles = { "A.B", "C.D" },
        tid = "t",
      },
      ['{"xms_tid":"other","tid":"t"}'] = { tid = "t" },
      ['{"tid"\n: "t", "exp"\t:1}'] = { tid = "t", exp = 1 },
      ['{"deep":{"tid":"other"},"tid":"t"}'] = { tid = "t" },
      ['{"aud":"tid\\":\\"other","tid":"t"}'] = { aud = 'tid":"other', tid = "t" },
      ['{"aud":"exp","exp":1.5}'] = { aud = "exp", exp = 1.5 },
      ['{"exp":1e3,"aud":["a","b"],"roles":[]}'] = { exp = 1000, aud = { "a", "b" }, roles = {} },
      ['{"exp":null,"tid":null,"aud":true,"roles":[1,"]",null]}'] = {
        aud = true,
        roles = { 1, "]" },
      },
      ['{"other":"t"}'] = {},
    } do
      local claims = assert(inspect(jwt(payload)))
      for _, name in ipairs { "aud", "exp", "roles", "tid" } do
        assert.same(expected[name], claims[name], payload)
      end
    end
  end)

  it("never raises for any bytes", function()
    local seed = 7
    local function byte()
      seed = (seed * 16807) % 2147483647
      return string.char(seed % 256)
    end
    for _ = 1, 300 do
      local noise = {}
      for index = 1, 24 do
        noise[index] = byte()
      end
      inspect(table.concat(noise))
      inspect(jwt(table.concat(noise)))
    end
  end)
end)
