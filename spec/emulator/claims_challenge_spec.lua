-- The emulator's claims challenges: which token answers one.

local base64url = require "autopilot.base.base64url"
local cjson = require "cjson"
local emulated_graph = require "support.emulated_graph"
local emulator = require "autopilot.emulator"

local post, sync = emulated_graph.post, emulated_graph.sync

local scope = "https://graph.microsoft.com/.default"

describe("autopilot.emulator: a claims challenge", function()
  local wanted = '{"access_token":{"acrs":{"essential":true,"value":"c1?~"}}}'
  local capable = '{"access_token":{"acrs":{"essential":true,"value":"c1?~"},'
    .. '"xms_cc":{"values":["cp1"]}}}'

  local function token_for(service, claims)
    local answer = post(service, "token", {
      grant_type = "client_credentials",
      client_id = "app",
      client_secret = "x",
      scope = scope,
      claims = claims,
    })
    return answer.access_token
  end

  it("stands until a token comes that was requested with its claims", function()
    for _, encoding in ipairs { "base64", "base64url" } do
      local service = emulator.new { clients = { app = { secret = "x" } } }
      local old = token_for(service)
      service:inject {
        kind = "claims_challenge",
        on = "sync",
        claims = wanted,
        encoding = encoding,
      }
      local response = sync(service, old)
      assert.equal(401, response.status)
      local told = response.headers["www-authenticate"]
      local encoded = told:match 'error="insufficient_claims", claims="([^"]*)"'
      assert.equal(encoding == "base64", encoded:find "[+/=]" ~= nil)
      assert.equal(wanted, base64url.decode(encoded))
      for _, claims in ipairs { false, "{}", wanted, (capable:gsub("c1", "c2")) } do
        assert.equal(401, sync(service, token_for(service, claims or nil)).status)
      end
      local good = token_for(service, capable)
      assert.equal(204, sync(service, good).status)
      assert.equal(capable, service.log[#service.log - 2].claims)
    end
  end)

  it("demands by default a token that is issued from now on", function()
    local service = emulator.new { clients = { app = { secret = "x" } } }
    service:inject { kind = "claims_challenge", on = "sync" }
    local told = sync(service, token_for(service)).headers["www-authenticate"]
    local text = base64url.decode(told:match 'claims="([^"]*)"')
    local nbf = cjson.decode(text).access_token.nbf
    assert.same({ essential = true, value = ("%d"):format(service:now()) }, nbf)
  end)

  it("is refused as a fault if it is malformed", function()
    local service = emulator.new {}
    for _, fault in ipairs {
      { kind = "claims_challenge", claims = "no JSON" },
      { kind = "claims_challenge", claims = 5 },
      { kind = "claims_challenge", encoding = "hex" },
    } do
      assert.has_error(function()
        service:inject(fault)
      end)
    end
    assert.is_nil(token_for(emulator.new { clients = { app = { secret = "x" } } }, "no JSON"))
  end)
end)
