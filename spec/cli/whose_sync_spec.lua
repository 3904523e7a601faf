-- The tenant of a command is the token's; if the user names another one, nothing is sent.

local cjson = require "cjson.safe"
local command = require "support.command"
local emulator = require "autopilot.emulator"
local overlay = require "support.overlay"

local ours, other = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"

--- Runs a command line with a token of a tenant; returns how it ended, and the requests.
local function run(args, env)
  local service = emulator.new {}
  local answer, requests = service:transport(), {}
  local ran = command.run(args, {
    env = overlay({ AUTOPILOT_TOKEN = service:issue_token { tenant = ours } }, env or {}),
    now = function()
      return service:now()
    end,
    sleep = function() end,
    transport = function(request)
      requests[#requests + 1] = request
      return answer(request)
    end,
  })
  return ran, requests
end

describe("the command with a token of another tenant", function()
  local cures = {
    ["--tenant " .. other] = "The tenant was named by --tenant: name the one of the token, or sign "
      .. "in to that tenant.",
    [""] = "The tenant was named by AZURE_TENANT_ID: unset it, or sign in to that tenant.",
  }

  it("sends nothing, ends in 5, and says which option or variable named the tenant", function()
    for option, cure in pairs(cures) do
      for _, name in ipairs { "sync", "status", "wait", "ensure", "sync --wait" } do
        local ran, requests =
          run(("%s --json %s"):format(name, option), { AZURE_TENANT_ID = other })
        local report = cjson.decode(ran.out)
        assert.equal(5, ran.code)
        assert.equal(0, #requests)
        assert.equal("token_error", report.outcome)
        assert.equal("TenantMismatch", report.error.code)
        assert.equal(cure, report.hint)
        local plain = run(name .. " " .. option, { AZURE_TENANT_ID = other })
        assert.equal("", plain.out)
        assert.is_truthy(plain.err:find(ours, 1, true))
        assert.is_truthy(plain.err:find(other, 1, true))
        assert.is_truthy(plain.err:find(cure, 1, true))
      end
    end
  end)

  it("does so with the token of this machine, too", function()
    for _, option in ipairs { "--tenant " .. other, "" } do
      for _, name in ipairs { "sync", "status", "ensure" } do
        local service = emulator.new {
          identity = { tenant = ours, client_id = "machine", header = "key" },
        }
        local ran = command.run(("%s --auth managed --json %s"):format(name, option), {
          env = {
            IDENTITY_ENDPOINT = "http://127.0.0.1:4141/msi/token",
            IDENTITY_HEADER = "key",
            AZURE_TENANT_ID = other,
          },
          transport = service:transport(),
        })
        local report = cjson.decode(ran.out)
        assert.equal(5, ran.code)
        assert.same({ 1, 0, 0 }, {
          service.requests.identity,
          service.requests.sync,
          service.requests.status,
        })
        assert.same({ "TenantMismatch", other }, { report.error.code, report.tenant })
        assert.equal(cures[option], report.hint)
      end
    end
  end)

  it("starts a sync if the tenant is the token's, or none is named", function()
    for _, option in ipairs { "--tenant " .. ours, "" } do
      local ran = run("sync --json " .. option)
      local report = cjson.decode(ran.out)
      assert.equal(0, ran.code)
      assert.equal(ours, report.tenant)
      assert.equal(ours, report.tenant_id)
    end
  end)

  it("prints the tenant's id if the user named a domain", function()
    local report = cjson.decode(run("sync --json --tenant contoso.example").out)
    assert.equal("contoso.example", report.tenant)
    assert.equal(ours, report.tenant_id)
  end)
end)

describe("a tenant that differs from the token's", function()
  local client_of = require "autopilot.cli.client"

  it("is reported with its source and the correction, and ends in 5", function()
    local sentence = "The tenant was named by %s: %s, or sign in to that tenant."
    for origin, cure in pairs {
      ["--tenant"] = "name the one of the token",
      AZURE_TENANT_ID = "unset it",
    } do
      local told
      local report =
        { ok = false, outcome = "token_error", error = { code = "TenantMismatch" }, hint = "x" }
      local code = client_of.finish(report, {}, {
        find = function()
          return "contoso", origin
        end,
        output = {
          report = function(_, given)
            told = given.hint
          end,
        },
      })
      assert.equal(5, code)
      assert.equal(sentence:format(origin, cure), told)
    end
  end)
end)
