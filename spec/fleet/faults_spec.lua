-- A failure of one tenant affects no other, and no report is lost.

local world = require "support.fleet_world"

describe("a failure of one tenant of a fleet", function()
  local function run(given)
    local w = world.new()
    given.tenants = world.names(12)
    given.concurrency = 3
    local fleet = w:fleet(given)
    local reports = world.collect(fleet)
    assert.are.equal(12, world.count(reports))
    local report = reports.t5
    reports.t5 = nil
    assert.are.same({ started = 11 }, world.outcomes(reports))
    assert.are.equal(0, fleet:progress().in_flight)
    return report
  end

  it("may come from the function that gives its options", function()
    local report = run {
      client = function(tenant)
        if tenant == "t5" then
          error("no such customer", 0)
        end
        return { token = "token-" .. tenant }
      end,
    }
    assert.are.equal("unexpected", report.outcome)
    assert.are.equal("no", report.delivered)
    assert.are.equal("no such customer", report.error.message)
    assert.are.equal("t5", report.tenant)
  end)

  it("may come from its options", function()
    local report = run {
      client = function(tenant)
        return { token = "token-" .. tenant, cloud = tenant == "t5" and "mars" or nil }
      end,
    }
    assert.are.equal("unexpected", report.outcome)
    assert.matches("^autopilot.client: option 'cloud' must be one of", report.error.message)
  end)

  it("may come from its token, which no report quotes", function()
    local report = run {
      client = function(tenant)
        local token = "token-" .. tenant
        return { token = tenant == "t5" and token .. "\r\nInjected: yes" or token }
      end,
    }
    assert.are.equal("unexpected", report.outcome)
    assert.is_nil(tostring(report):find("Injected", 1, true))
    assert.is_nil(report.error.message:find("token-t5", 1, true))
  end)

  it("may come from its provider, which raises", function()
    local report = run {
      client = function(tenant)
        return {
          token = function()
            if tenant == "t5" then
              error "the vault is closed"
            end
            return "token-" .. tenant
          end,
        }
      end,
    }
    assert.are.equal("token_error", report.outcome)
    assert.are.equal("no", report.delivered)
  end)

  it("may come from the operation, also after a request was sent", function()
    local report = run {
      operation = function(client, tenant)
        local report, failure = client:sync()
        if tenant == "t5" then
          error { "not even a text" }
        end
        return report, failure
      end,
    }
    assert.are.equal("unexpected", report.outcome)
    assert.are.equal("unknown", report.delivered)
    assert.are.equal("an error that is a table", report.error.message)
  end)

  it("may come from an operation that returns no report", function()
    local report = run {
      operation = function(client, tenant)
        if tenant == "t5" then
          return "done"
        end
        local report, failure = client:sync()
        return report, failure
      end,
    }
    assert.are.equal("the operation returned no report", report.error.message)
  end)

  it("may come from an HTTP layer that raises, and frees its place", function()
    local report = run {
      client = function(tenant)
        local options = { token = "token-" .. tenant }
        if tenant == "t5" then
          options.transport = function()
            error "the wire is cut"
          end
        end
        return options
      end,
    }
    assert.are.equal("unexpected", report.outcome)
    assert.are.equal("unknown", report.delivered)
  end)

  it("may come from on_report, and is counted", function()
    local w = world.new()
    local seen = 0
    local summary = w:fleet({ tenants = world.names(9) }):run {
      on_report = function(tenant)
        seen = seen + 1
        if tenant == "t5" then
          error "the database is gone"
        end
      end,
    }
    assert.are.equal(9, seen)
    assert.are.equal(9, summary.ok)
    assert.are.equal(1, summary.callback_errors)
  end)
end)
