-- Signing in with the refresh token of a person: one for all tenants, replaced whenever a newer one comes.

local certificate_world = require "support.certificate_world"
local mistakes = require "support.mistakes"
local overlay = require "support.overlay"
local refresh_token = require "autopilot.token.refresh_token"
local token_world = require "support.token_world"

local first = "hush-refresh-1-4f6c1d0e9a7b"
local secret = "hush-secret-4f6c1d0e9a7b"

setup(certificate_world.make)
teardown(certificate_world.remove)

local function provider(given)
  local options = {
    client_id = "app",
    client_secret = secret,
    refresh_token = first,
    getenv = token_world.getenv {},
  }
  return refresh_token(overlay(options, given))
end

--- A grant that brings this refresh token.
local function granted(newer)
  return token_world.granted { refresh_token = newer }
end

local function forms_of(world)
  local forms = {}
  for index, request in ipairs(world.requests) do
    forms[index] = token_world.form(request.body)
  end
  return forms
end

describe("autopilot.token.refresh_token", function()
  it("redeems the refresh token, with the application's secret", function()
    local world = token_world.scripted { granted() }
    local token, expires_in, extra = provider()(world.ask)
    assert.are.same({ "opaque-token-0123456789", 3599, {} }, { token, expires_in, extra })
    assert.are.equal(
      "https://login.microsoftonline.com/contoso/oauth2/v2.0/token",
      world.requests[1].url
    )
    assert.are.same({
      client_id = "app",
      client_secret = secret,
      grant_type = "refresh_token",
      refresh_token = first,
      scope = "https://graph.microsoft.com/.default offline_access",
    }, forms_of(world)[1])
  end)

  it("redeems it with a certificate, or as a public client", function()
    local world = token_world.scripted { granted(), granted() }
    local certificate = certificate_world.path "together.pem"
    local by_certificate = refresh_token {
      client_id = "app",
      refresh_token = first,
      certificate = certificate,
      getenv = token_world.getenv {},
    }
    assert.is_truthy((by_certificate(world.ask)))
    local as_public =
      refresh_token { client_id = "app", refresh_token = first, getenv = token_world.getenv {} }
    assert.is_truthy((as_public(world.ask)))
    local forms = forms_of(world)
    assert.is_truthy(forms[1].client_assertion)
    assert.is_nil(forms[2].client_assertion or forms[2].client_secret)
  end)

  it("serves every tenant, each with the newest refresh token", function()
    local saved = {}
    local world = token_world.scripted { granted "second", granted(), granted "second", granted() }
    local sign_in = provider {
      on_rotation = function(newer)
        saved[#saved + 1] = newer
      end,
    }
    for _, tenant in ipairs { "contoso", "fabrikam", "adatum", "contoso" } do
      world.ask.tenant = tenant
      assert.is_truthy((sign_in(world.ask)))
    end
    local sent, tenants = {}, {}
    for index, form in ipairs(forms_of(world)) do
      sent[index] = form.refresh_token
      tenants[index] = world.requests[index].url:match "com/([^/]+)/"
    end
    assert.are.same({ first, "second", "second", "second" }, sent)
    assert.are.same({ "contoso", "fabrikam", "adatum", "contoso" }, tenants)
    assert.are.same({ "second" }, saved)
  end)

  it("keeps the newest when two tenants sign in at once", function()
    local saved, waiting = {}, {}
    local answers = { granted "second", granted "third", granted() }
    local sent = {}
    local world = token_world.over(function(request)
      local number = #sent + 1
      sent[number] = token_world.form(request.body).refresh_token
      if number <= 2 then
        coroutine.yield()
      end
      local answer = answers[number]
      answer.headers = {}
      return answer
    end)
    local sign_in = provider {
      on_rotation = function(newer)
        saved[#saved + 1] = newer
      end,
    }
    for number = 1, 2 do
      waiting[number] = coroutine.create(sign_in)
      assert(coroutine.resume(waiting[number], world.ask))
    end
    assert(select(2, coroutine.resume(waiting[1])))
    assert(select(2, coroutine.resume(waiting[2])))
    assert.is_truthy((sign_in(world.ask)))
    assert.are.same({ first, first, "third" }, sent)
    assert.are.same({ "second", "third" }, saved)
  end)

  it("keeps the newest although a function returns an older one meanwhile", function()
    local world = token_world.scripted { granted "second", granted(), granted() }
    local sign_in = provider {
      refresh_token = function()
        coroutine.yield()
        return first
      end,
    }
    local threads = {}
    for number = 1, 2 do
      threads[number] = coroutine.create(sign_in)
      assert(coroutine.resume(threads[number], world.ask))
    end
    for number = 1, 2 do
      assert(select(2, coroutine.resume(threads[number])))
    end
    assert.is_truthy((sign_in(world.ask)))
    local sent = {}
    for index, form in ipairs(forms_of(world)) do
      sent[index] = form.refresh_token
    end
    assert.are.same({ first, "second", "second" }, sent)
  end)

  it("passes a newer refresh token to the callback again if that could not save it", function()
    local tried, works = {}, false
    local world = token_world.scripted { granted "second", granted(), granted(), granted() }
    local sign_in = provider {
      on_rotation = function(newer)
        tried[#tried + 1] = newer
        assert(works, "the vault is closed")
      end,
    }
    assert.is_truthy((sign_in(world.ask)))
    assert.is_truthy((sign_in(world.ask)))
    works = true
    assert.is_truthy((sign_in(world.ask)))
    assert.is_truthy((sign_in(world.ask)))
    assert.are.same({ "second", "second", "second" }, tried)
  end)

  it("calls a function for it: first, and again after it was refused", function()
    local given = { "one", "two" }
    local refused = token_world.refused(400, "invalid_grant", 700082, "The token has expired.")
    local world = token_world.scripted { granted(), granted(), refused, granted() }
    local sign_in = provider {
      refresh_token = function()
        return table.remove(given, 1)
      end,
    }
    assert.is_truthy((sign_in(world.ask)))
    assert.is_truthy((sign_in(world.ask)))
    local token, message, details = sign_in(world.ask)
    assert.is_nil(token)
    assert.is_truthy(message:find("AADSTS700082", 1, true))
    assert.is_truthy(details.hint:find("let the person sign in again", 1, true), details.hint)
    assert.is_false(details.is_transient)
    assert.is_truthy((sign_in(world.ask)))
    local sent = {}
    for index, form in ipairs(forms_of(world)) do
      sent[index] = form.refresh_token
    end
    assert.are.same({ "one", "one", "one", "two" }, sent)
  end)

  it("reports a function without a refresh token, and sends nothing", function()
    for _, text in ipairs { "", "two words", "line\nbreak" } do
      local world = token_world.scripted {}
      local token, message = provider {
        refresh_token = function()
          return text, "nothing there"
        end,
      }(world.ask)
      assert.is_nil(token)
      assert.are.equal("the function refresh_token gave no refresh token: nothing there", message)
      assert.are.equal(0, #world.requests)
    end
  end)

  it("distinguishes the tenant's own refusals from those of the refresh token", function()
    local refusal = token_world.refused(400, "invalid_grant", 65001, "No consent.")
    local no_guest = token_world.refused(400, "invalid_grant", 50020, "No such user.")
    local unknown = token_world.refused(400, "invalid_grant", 50999, "Not in this tenant.")
    local world = token_world.scripted { granted "second", refusal, granted(), no_guest, unknown }
    local sign_in = provider()
    assert.is_truthy((sign_in(world.ask)))
    local _, _, details = sign_in(world.ask)
    assert.is_truthy(details.hint:find("admin consent", 1, true), details.hint)
    assert.is_truthy((sign_in(world.ask)))
    assert.are.equal("second", forms_of(world)[3].refresh_token)
    _, _, details = sign_in(world.ask)
    assert.is_truthy(details.hint:find("user does not exist", 1, true), details.hint)
    _, _, details = sign_in(world.ask)
    assert.is_truthy(details.hint:find("^If it is refused in every tenant"), details.hint)
  end)

  it("never shows its secrets", function()
    for _, echo in ipairs { first, secret } do
      for _, answer in ipairs {
        token_world.refused(400, "invalid_grant", 70000, "Wrong: " .. echo),
        { status = 500, body = echo },
        { network = { message = echo } },
      } do
        local world = token_world.scripted { answer }
        local sign_in = provider()
        token_world.assert_nowhere("4f6c1d0e9a7b", { sign_in(world.ask) })
        token_world.assert_nowhere("4f6c1d0e9a7b", sign_in)
      end
    end
  end)

  it("raises for a caller's mistake at the caller's line, without a secret", function()
    local function with(given)
      return overlay({ client_id = "app", refresh_token = first }, given)
    end
    mistakes.assert_refused("refresh_token", refresh_token, {
      ["option 'refresh_token' is required"] = { client_id = "app" },
      ["option 'refresh_token' must be one word"] = { client_id = "app", refresh_token = "hush x" },
      ["option 'client_id' is required"] = { refresh_token = first },
      ["takes a secret or a certificate, and not both"] = with {
        client_secret = secret,
        certificate = "hush.pem",
      },
      ["option 'private_key' needs the option 'certificate'"] = with { private_key = "hush.pem" },
      ["option 'passphrase' needs the option 'certificate'"] = with {
        client_secret = secret,
        passphrase = "hush",
      },
      ["takes only one of the options 'client_secret' and 'client_secret_file'"] = with {
        client_secret = secret,
        client_secret_file = "hush",
      },
    }, "hush")
  end)
end)
