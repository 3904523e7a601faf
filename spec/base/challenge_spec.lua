local claims = require "autopilot.base.claims"

describe("autopilot.base.claims.challenges", function()
  it("reads the challenge of continuous access evaluation", function()
    local authority = "https://login.microsoftonline.com/common/oauth2/authorize"
    local challenges, problem = claims.challenges(
      'Bearer realm="", authorization_uri="'
        .. authority
        .. '", client_id="00000003-0000-0000-c000-000000000000", error="insufficient_claims",'
        .. ' claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="'
    )
    assert.is_nil(problem)
    assert.same({
      {
        scheme = "bearer",
        parameters = {
          realm = "",
          authorization_uri = authority,
          client_id = "00000003-0000-0000-c000-000000000000",
          error = "insufficient_claims",
          claims = "eyJhY2Nlc3NfdG9rZW4iOnt9fQ==",
        },
      },
    }, challenges)
  end)

  it("reads several challenges, of one header or of several that were joined", function()
    local text = "Negotiate, NTLM TlRMTVNTUAAC+/==,,"
      .. ' Basic realm="a, b=c" , charset = UTF-8, Bearer error=invalid_token'
    assert.same({
      { scheme = "negotiate", parameters = {} },
      { scheme = "ntlm", token68 = "TlRMTVNTUAAC+/==", parameters = {} },
      { scheme = "basic", parameters = { realm = "a, b=c", charset = "UTF-8" } },
      { scheme = "bearer", parameters = { error = "invalid_token" } },
    }, (claims.challenges(text)))
  end)

  it("gives schemes and names in small letters and leaves values as they are", function()
    local challenge = claims.challenges("BEARER Error=Insufficient_Claims")[1]
    assert.same({ scheme = "bearer", parameters = { error = "Insufficient_Claims" } }, challenge)
    local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert.equal(letters:lower(), claims.challenges(letters)[1].scheme)
  end)

  it("removes the backslashes of quoted pairs, and no others", function()
    local parameters = claims.challenges([[X a="say \"hi\", \\ \x", b="", c="\\"]])[1].parameters
    assert.same({ a = [[say "hi", \ x]], b = "", c = "\\" }, parameters)
  end)

  it("keeps the first of repeated parameters, an empty one too", function()
    assert.same({ a = "1" }, claims.challenges("X a=1, A=2")[1].parameters)
    assert.same({ a = "" }, claims.challenges('X a="", a=2')[1].parameters)
  end)

  it("keeps challenges of the same scheme apart", function()
    assert.same({
      { scheme = "x", parameters = { a = "1" } },
      { scheme = "x", parameters = { a = "2" } },
    }, (claims.challenges "X a=1, X a=2"))
  end)

  it("ignores further arguments", function()
    assert.same(
      { { scheme = "x", parameters = { a = "1" } } },
      (claims.challenges("X a=1", "Y", {}))
    )
  end)

  it("gives an empty list for an empty text", function()
    for _, text in ipairs { "", " ", " , ," } do
      local challenges, problem = claims.challenges(text)
      assert.same({}, challenges)
      assert.is_nil(problem)
    end
  end)

  it("keeps what stood before a malformed part, and says where that begins", function()
    local challenges, problem = claims.challenges 'Bearer error="insufficient_claims", claims="e30'
    assert.same(
      { { scheme = "bearer", parameters = { error = "insufficient_claims" } } },
      challenges
    )
    assert.equal("malformed challenge at byte 37", problem)

    challenges, problem = claims.challenges 'Bearer claims="e30", Basic realm="x" y'
    assert.same({ claims = "e30" }, challenges[1].parameters)
    assert.same({ scheme = "basic", parameters = {} }, challenges[2])
    assert.equal("malformed challenge at byte 28", problem)
  end)

  it("names a malformed text without quoting it", function()
    for _, text in ipairs {
      "realm=x",
      "=",
      '"Bearer"',
      "Basic/x",
      "X a=1; b=2",
      'X a="b\0c"',
      "X\0",
      'X a="b\r\nSet-Cookie: c"',
      ("("):rep(100000),
    } do
      local challenges, problem = claims.challenges(text)
      assert.matches("^malformed challenge at byte %d+$", problem)
      assert.equal("table", type(challenges))
    end
  end)

  it("reads long and many challenges", function()
    local value = ('x\\"'):rep(50000)
    assert.equal((value:gsub("\\", "")), claims.challenges('X a="' .. value .. '"')[1].parameters.a)
    assert.equal(20000, #claims.challenges(("Basic,"):rep(20000)))
    local scheme = ("S"):rep(50000)
    assert.equal(scheme:lower(), claims.challenges(scheme)[1].scheme)
  end)
end)
