-- Proofs and refresh tokens are verified by another OAuth server: oidc-provider, which checks signatures,
-- and voids a refresh token that is used twice.

local await = require "support.await"
local cjson = require "cjson.safe"
local curl = require "autopilot.transport.curl"
local files = require "support.files"
local key_files = require "support.key_files"
local overlay = require "support.overlay"
local shell = require "autopilot.cli.emulate.shell"
local token = require "autopilot.token"
local token_world = require "support.token_world"

local packages = shell
  .read "cd build/node/node_modules/oidc-provider 2>/dev/null && cd ../.. && pwd"
  :match "^(%S+)\n"
local scope = "https://graph.microsoft.com/.default"
local secret = "a+b & c=%~"

describe("oidc-provider", function()
  if not packages or shell.read "command -v node" == "" then
    pending "judges proofs and refresh tokens: needs node, npm and its registry"
    return
  end

  local folder, pipe, server, transport

  setup(function()
    folder = key_files.make()
    files.write(
      folder .. "/settings",
      cjson.encode {
        packages = packages,
        scope = scope,
        secret = secret,
        public_key = folder .. "/public.pem",
        ready = folder .. "/ready",
      }
    )
    local run = "exec node spec/node/oidc_provider.mjs '%s/settings' >'%s/output' 2>&1"
    pipe = assert(io.popen(run:format(folder, folder), "w"))
    server = await("the provider listens", function()
      return cjson.decode(files.read(folder .. "/ready") or "")
    end)
    transport = curl.new {}
  end)

  teardown(function()
    transport:close()
    pipe:close()
    key_files.remove(folder)
  end)

  --- Asks a provider of this kind for a token.
  local function provider(kind, given)
    local made = token[kind](overlay({
      authority = server.url,
      getenv = token_world.getenv {},
    }, given))
    return function()
      return made {
        tenant = "contoso",
        scope = scope,
        refresh = true, -- no token of the cache
        transport = function(request)
          return transport(request)
        end,
      }
    end
  end

  local certificate = {
    pem = { certificate = "together.pem" },
    pfx = { certificate = "application.pfx", passphrase = key_files.passphrase },
  }

  for name, given in pairs(certificate) do
    it("accepts the assertion of a certificate: " .. name, function()
      local granted, message = provider("client_certificate", {
        client_id = "certified",
        certificate = folder .. "/" .. given.certificate,
        passphrase = given.passphrase,
      })()
      assert.are.equal("string", type(granted), message)
    end)
  end

  it("accepts a secret with characters that a form must encode, and refuses another", function()
    local given = { client_id = "secret", client_secret = secret }
    assert.is_truthy((provider("client_secret", given)()))
    given.client_secret = "wrong"
    local granted, _, details = provider("client_secret", given)()
    assert.is_nil(granted)
    assert.are.equal("invalid_client", details.code)
  end)

  it("gives a newer refresh token each time, which is redeemed the next time", function()
    local kept = {}
    local ask = provider("refresh_token", {
      client_id = "secret",
      client_secret = secret,
      refresh_token = server.refresh.secret,
      on_rotation = function(newer)
        kept[#kept + 1] = newer
      end,
    })
    for _ = 1, 3 do
      local granted, message = ask()
      assert.are.equal("string", type(granted), message)
    end
    assert.are.equal(3, #kept)
    assert.are_not.equal(kept[1], kept[3])
    local granted, _, details = provider("refresh_token", {
      client_id = "secret",
      client_secret = secret,
      refresh_token = server.refresh.secret,
    })()
    assert.is_nil(granted)
    assert.are.equal("invalid_grant", details.code)
  end)

  it("redeems a refresh token for an application with a certificate", function()
    local ask = provider("refresh_token", {
      client_id = "certified",
      certificate = folder .. "/together.pem",
      refresh_token = server.refresh.certified,
    })
    for _ = 1, 2 do
      local granted, message = ask()
      assert.are.equal("string", type(granted), message)
    end
  end)
end)
