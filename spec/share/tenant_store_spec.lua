-- A client uses what other clients with the same store have learnt about a tenant, without a request.

local Client = require "autopilot.client.client"
local mistakes = require "support.mistakes"
local overlay = require "support.overlay"
local scripted = require "autopilot.transport.scripted"
local service = require "autopilot.client.service"
local shared_tenant = require "support.shared_tenant"
local stores = require "autopilot.store"
local world = require "support.virtual_world"

local start = world.start

local sharing, refused, started = shared_tenant.new, shared_tenant.refused, shared_tenant.started

describe("clients with one store", function()
  it("honour the cooldown of a sync by another client", function()
    local here, client = sharing()
    local one = client { started }
    local other = client {}
    assert(one:sync())
    here:pass(100)
    local failure = refused(other)
    assert.are.equal("cooldown", failure.outcome)
    assert.are.equal(start + 610, failure.retry_at)
    assert.are.equal(510, failure.retry_after)
  end)

  it("ask again after its end", function()
    local here, client = sharing()
    assert((client { started }):sync())
    here:pass(610.1)
    assert((client { { status = 204 } }):sync())
  end)

  it("add their own cooldown and margin to the shared facts", function()
    local _, client = sharing()
    assert((client { started }):sync())
    local other = client({}, { cooldown = 300, cooldown_margin = 1 })
    assert.are.equal(start + 301, refused(other).retry_at)
    assert((client({ started }, { cooldown = 0 })):sync())
  end)

  it("honour another client's Retry-After", function()
    for status, outcome in pairs { [429] = "throttled", [409] = "in_progress" } do
      local _, client = sharing()
      local one = client { { status = status, headers = { ["Retry-After"] = "120" } } }
      assert.is_nil(one:sync())
      local failure = refused((client {}))
      assert.are.equal(outcome, failure.outcome)
      assert.are.equal(start + 120, failure.retry_at)
    end
  end)

  it("do not share what depends on the caller", function()
    local _, client = sharing()
    local one = client { { status = 403, headers = { ["Retry-After"] = "120" } } }
    assert.is_nil(one:sync())
    assert((client { started }):sync())
  end)

  it("honour another client's bare 429, until a record says more", function()
    local here, client = sharing()
    assert.is_nil((client { { status = 429 } }):sync())
    assert.are.equal(start + 610, refused((client {})).retry_at)
    here:pass(50)
    local record =
      world.record { trigger = start - 500, last_sync = start - 499, date = start + 50 }
    assert((client { record }):status())
    here:pass(62)
    assert((client { started }):sync())
  end)

  it("use a record that another client has read", function()
    local _, client = sharing()
    local record = world.record { trigger = start - 100, last_sync = start - 99, date = start }
    assert((client { record }):status())
    local failure = refused((client {}))
    assert.are.equal("cooldown", failure.outcome)
    local ends = start - 99 + 610
    assert.is_true(failure.retry_at >= ends and failure.retry_at <= ends + 1.01)
  end)

  it("report in their status that a sync is not possible yet", function()
    local here, client = sharing()
    assert((client { started }):sync())
    here:pass(5)
    -- Read too late: it does not show the sync yet.
    local old = world.record { trigger = start - 5000, last_sync = start - 4999, date = start + 5 }
    local report = assert((client { old }):status())
    assert.is_false(report.ready)
    assert.is_true(report.cooldown_remaining > 600)
  end)

  it("post anyway with force", function()
    local _, client = sharing()
    assert((client { started }):sync())
    assert((client { { status = 204 } }):sync { force = true })
  end)

  it("ignore the case of a tenant's name, and confuse no two tenants", function()
    local _, client = sharing()
    assert((client({ started }, { tenant = "Contoso.example" })):sync())
    refused((client({}, { tenant = "contoso.EXAMPLE" })))
    assert((client({ started }, { tenant = "fabrikam.example" })):sync())
    local elsewhere = { tenant = "contoso.example", base_url = "https://graph.microsoft.us" }
    assert((client({ started }, elsewhere)):sync())
  end)

  it("write neither token nor secret to the store", function()
    local here = world.new()
    local seen = {}
    local inner = stores.memory()
    local store = setmetatable({}, {
      __index = function(_, method)
        return function(_, key, value, ...)
          seen[#seen + 1] = key .. "\n" .. tostring(value)
          return inner[method](inner, key, value, ...)
        end
      end,
    })
    local token = "eyJ0eXAiOiJKV1QifQ.made-up-token-value.c2lnbmF0dXJl"
    local echo = '{"error":{"code":"Forbidden","message":"token ' .. token .. '"}}'
    local answer = { status = 403, body = echo, headers = { ["request-id"] = token } }
    local client = here:scripted({ answer }, { token = token, store = store, retry = false })
    assert.is_nil(client:sync())
    local all = table.concat(seen, "\n")
    assert.truthy(all:find("forbidden", 1, true)) -- the result was told
    assert.is_nil(all:find(token, 1, true))
    assert.is_nil(all:find("made-up-token-value", 1, true))
  end)
end)

describe("a store with foreign or invalid values", function()
  local function with_values(text)
    local here, client = sharing()
    local filled = stores.memory()
    local store = {
      add = function(_, ...)
        return filled:add(...)
      end,
      set = function()
        return true
      end,
      get = function(_, key)
        return key:find ":claim$" and filled:get(key) or text
      end,
      delete_if = function(_, ...)
        return filled:delete_if(...)
      end,
    }
    return client({ started }, { store = store }), here
  end

  it("is treated as empty", function()
    for _, text in ipairs {
      "",
      "garbage",
      "{}",
      "[]",
      '{"id":1}',
      "0.0 throttled",
      "9999999999.0",
      '{"refusal":5,"sync":1,"refused":true,"result":7}',
      "9999999999.0 9999999999.0 9999999999.0",
      "9999999999.0 throttled",
      "1e9.0",
      ("9"):rep(400) .. ".0 throttled",
      ("%.0f.0 1.0"):format(start),
      ("%.0f.0 9.0 1.0"):format(start),
      ("%.0f.0 unauthenticated"):format(start + 100),
      ("x"):rep(100000),
    } do
      local client = with_values(text)
      local report, failure = client:sync()
      assert(report, text:sub(1, 40) .. ": " .. tostring(failure))
    end
  end)
end)

describe("the store of a tenant", function()
  --- A store that notes which of its methods are called.
  local function counted(inner)
    local calls = {}
    return setmetatable({}, {
      __index = function(_, method)
        return function(_, ...)
          calls[#calls + 1] = method
          return inner[method](inner, ...)
        end
      end,
    }),
      calls
  end

  it("is called five times for a sync", function()
    local _, client, inner = sharing()
    local store, calls = counted(inner)
    assert((client({ started }, { store = store })):sync())
    assert.are.same({ "get", "add", "get", "set", "delete_if" }, calls)
  end)

  it("is called once if another client has stored the cooldown", function()
    local _, client, inner = sharing()
    assert((client { started }):sync())
    local store, calls = counted(inner)
    refused((client({}, { store = store })))
    assert.are.same({ "get" }, calls)
  end)
end)

describe("a store that fails", function()
  local failures = {
    ["says why"] = function()
      return nil, "no memory for good=secret"
    end,
    ["raises"] = function()
      error "broken"
    end,
    ["raises a table"] = function()
      error {}
    end,
    ["returns nonsense"] = function()
      return {}, {}
    end,
    ["returns nothing"] = function() end,
  }

  for name, fail in pairs(failures) do
    it("and " .. name .. " changes nothing for a client", function()
      local here = world.new()
      local store = { add = fail, get = fail, set = fail, delete_if = fail }
      local given = { store = store, token = "good=secret", retry = false }
      local client, transport = here:scripted({ started, { status = 204 } }, given)
      local report = assert(client:sync())
      assert.are.equal("started", report.outcome)
      assert.are.equal("service", report.answered_by)
      local _, failure = client:sync()
      assert.are.equal("cooldown", failure.outcome) -- by its own memory
      assert.are.equal(1, #transport.requests)
    end)
  end

  it("is reported by an event, without a secret", function()
    local here = world.new()
    local fail = failures["says why"]
    local store = { add = fail, get = fail, set = fail, delete_if = fail }
    local client = here:scripted({ started }, { store = store, token = "good=secret" })
    assert(client:sync())
    local events = here:events_of "store_failed"
    assert.is_true(#events > 2)
    local last = events[#events]
    assert.truthy(last.message:find("no memory", 1, true))
    assert.is_nil(last.message:find("good=secret", 1, true))
  end)
end)

describe("a store that fails once", function()
  it("does not make a client forget another's Retry-After", function()
    local _, client, inner = sharing()
    local answer = { status = 429, headers = { ["Retry-After"] = "120" } }
    assert.is_nil((client { answer }):sync())
    local has_failed = false
    local store = setmetatable({
      get = function(_, key)
        if key:find ":refusal$" and not has_failed then
          has_failed = true
          return nil, "down"
        end
        return inner:get(key)
      end,
    }, { __index = inner })
    local failure = refused((client({}, { store = store })))
    assert.is_true(has_failed)
    assert.are.equal("throttled", failure.outcome)
    assert.are.equal(start + 120, failure.retry_at)
  end)
end)

describe("the option store", function()
  it("needs a tenant", function()
    local message = mistakes.raised(function()
      require "autopilot.client" { token = "good", store = stores.memory() }
    end)
    assert.truthy(message:find("tenant_store_spec.lua:", 1, true))
    assert.truthy(message:find("option 'store' needs option 'tenant'", 1, true))
  end)

  it("accepts any object with the four methods", function()
    local message = mistakes.raised(function()
      require "autopilot.client" { token = "good", tenant = "contoso", store = {} }
    end)
    assert.truthy(message:find("option 'store' must have a method 'add'", 1, true))
  end)

  it("applies to the clients of one service, each with its own tenant", function()
    local here, client, store = sharing()
    local given = overlay(here:injected(), {
      token = "token",
      tenant = "contoso",
      store = store,
      transport = scripted { started, started },
    })
    local made = service.new(given)
    assert(Client.new(made, "token", "contoso"):sync())
    assert(Client.new(made, "token", "fabrikam"):sync())
    refused((client({}, { tenant = "fabrikam" })))
  end)

  it("is not needed: no store is used without it", function()
    local here = world.new()
    local transport = scripted { started }
    local client = here:client { transport = transport }
    assert.is_falsy(client.shared)
    assert(client:sync())
  end)
end)
