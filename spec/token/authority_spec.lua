local authority = require "autopilot.token.authority"
local mistakes = require "support.mistakes"
local provider = require "autopilot.token.provider"
local token_world = require "support.token_world"

--- The place that a provider of these options finds; or nil and a sentence.
local function find(given, ask, fallback, variables)
  given.getenv = token_world.getenv(variables or {})
  local new = provider.kind("spec", authority.rules {}, function(checked)
    return function(asked)
      return authority.find(checked, asked, fallback)
    end
  end)
  return new(given)(ask)
end

describe("autopilot.token.authority", function()
  it("refuses a token for the Graph of another cloud", function()
    for _, case in ipairs {
      { "china", "https://graph.microsoft.com/.default", "global" },
      { "global", "HTTPS://Graph.Microsoft.US/.default", "us_gov" },
      { "us_gov", "https://dod-graph.microsoft.us/.default offline_access", "us_gov_dod" },
    } do
      local cloud, scope, other = case[1], case[2], case[3]
      for _, given in ipairs { { scope = scope }, {} } do
        local ask = { tenant = "contoso", cloud = cloud, scope = not given.scope and scope or nil }
        local place, message = find(given, ask)
        assert.is_nil(place)
        local expected = ("the scope is that of the cloud '%s', and the client's is '%s'"):format(
          other,
          cloud
        )
        assert.are.equal(expected, message)
      end
    end
    local elsewhere = find({ scope = "https://vault.test/.default" }, { tenant = "contoso" })
    assert.are.equal("https://vault.test/.default", elsewhere.scope)
  end)

  it("uses the authority of the client's cloud, for that cloud's scope", function()
    for cloud, expected in pairs {
      global = { "https://login.microsoftonline.com", "https://graph.microsoft.com/.default" },
      us_gov = { "https://login.microsoftonline.us", "https://graph.microsoft.us/.default" },
      us_gov_dod = {
        "https://login.microsoftonline.us",
        "https://dod-graph.microsoft.us/.default",
      },
      china = {
        "https://login.partner.microsoftonline.cn",
        "https://microsoftgraph.chinacloudapi.cn/.default",
      },
    } do
      local place = find({}, { tenant = "contoso", cloud = cloud })
      assert.are.same({ authority = expected[1], scope = expected[2], tenant = "contoso" }, place)
    end
  end)

  it("prefers options to the request's values, and the option to the environment", function()
    local variables = { AZURE_AUTHORITY_HOST = "https://login.example.test/" }
    local ask = { tenant = "asked", cloud = "global", scope = "s" }
    local place = find({ tenant = "given", scope = "t" }, ask, nil, variables)
    local expected = { authority = "https://login.example.test", tenant = "given", scope = "t" }
    assert.are.same(expected, place)
    place = find({ authority = "https://other.test" }, ask, nil, variables)
    expected = { authority = "https://other.test", tenant = "asked", scope = "s" }
    assert.are.same(expected, place)
  end)

  it("ignores an empty variable", function()
    local place = find({}, { tenant = "a" }, nil, { AZURE_AUTHORITY_HOST = "" })
    assert.are.equal("https://login.microsoftonline.com", place.authority)
  end)

  it("never uses the authority of another cloud", function()
    for host, cloud in pairs {
      ["login.microsoftonline.com"] = "us_gov",
      ["LOGIN.microsoftonline.us"] = "global",
      ["login.microsoftonline.us:443"] = "china",
      ["login.chinacloudapi.cn"] = "us_gov_dod",
      ["login.windows.net"] = "china",
    } do
      local ask = { tenant = "contoso", cloud = cloud }
      for _, place in ipairs {
        { find({ authority = "https://" .. host }, ask) },
        {
          find({}, ask, nil, { AZURE_AUTHORITY_HOST = host }),
        },
      } do
        assert.is_nil(place[1])
        assert.is_truthy(place[2]:find("not the authority of the cloud '" .. cloud, 1, true))
      end
    end
    local older = { authority = "https://login.chinacloudapi.cn" }
    assert.is_truthy(find(older, { tenant = "contoso", cloud = "china" }))
  end)

  it("accepts hosts over https, and over http only this machine", function()
    for text, url in pairs {
      ["https://login.microsoftonline.com"] = "https://login.microsoftonline.com",
      ["https://Login.Example.test:8443/"] = "https://login.example.test:8443",
      ["login.example.test"] = "https://login.example.test",
      ["http://127.0.0.1:80"] = "http://127.0.0.1:80",
      ["http://localhost:5000/"] = "http://localhost:5000",
      ["http://[::1]:5000"] = "http://[::1]:5000",
    } do
      assert.are.equal(url, authority.parse(text))
    end
    for _, text in ipairs {
      "",
      "https://",
      "https:///",
      "http://login.microsoftonline.com",
      "http://127.0.0.1.evil.test",
      "http://127.0.0.256",
      "http://169.254.169.254",
      "http://localhost.evil.test",
      "ftp://login.example.test",
      "file:///etc/passwd",
      "https://login.example.test/tenant",
      "https://login.example.test//",
      "https://login.example.test?x",
      "https://login.example.test#x",
      "https://user:hush@login.example.test",
      "https://login.example.test@evil.test",
      "https://login.example.test\\@evil.test",
      "https://login.example.test:0x50",
      "https://login.example.test:70000",
      "https://login.example.test:",
      "https://a..b",
      "https://-a",
      "https://a b",
      "https://a\r\nHost: b",
      "https://a\0b",
      "https://[::1",
      "https://%6c",
    } do
      assert.is_nil((authority.parse(text)), text)
      local place, message = find({}, { tenant = "a" }, nil, {
        AZURE_AUTHORITY_HOST = text ~= "" and text or "https://",
      })
      assert.is_nil(place)
      assert.is_truthy(message:find "^AZURE_AUTHORITY_HOST must be ")
      local raised = mistakes.raised(find, { authority = text }, { tenant = "a" })
      assert.is_truthy(raised:find("option 'authority' must be", 1, true))
      token_world.assert_nowhere("hush", raised)
    end
  end)

  it("accepts a tenant's id or domain, and no part of a path", function()
    for _, tenant in ipairs {
      "contoso",
      "contoso.onmicrosoft.com",
      "0f5c6c9a-0000-4000-8000-00000000abcd",
    } do
      assert.is_nil(authority.tenant_complaint(tenant))
      assert.are.equal(tenant, find({}, { tenant = tenant }).tenant)
    end
    for _, tenant in ipairs {
      "",
      "..",
      "a/../b",
      "a/b",
      "a%2fb",
      "a?b",
      "a#b",
      "a\\b",
      "a b",
      "a..b",
      "a.",
      "-a",
      "a-",
      "a\nb",
      "a\0",
      "\195\164.de",
      ("a"):rep(254),
    } do
      assert.are.equal("must be a tenant id or a domain", authority.tenant_complaint(tenant))
      local place, message = find({}, { tenant = tenant })
      assert.is_nil(place)
      assert.are.equal("the tenant must be a tenant id or a domain", message)
      assert.is_false((pcall(find, { tenant = tenant }, {})))
    end
  end)

  it("accepts an id in braces, and removes them in the URL", function()
    local id = "11111111-2222-3333-4444-555555555555"
    assert.are.equal(id, find({}, { tenant = "{" .. id .. "}" }).tenant)
    assert.are.equal(id, find({ tenant = "{" .. id .. "}" }, {}).tenant)
    assert.is_nil((find({}, { tenant = "{contoso}" })))
  end)

  it("refuses tenants such as `common` for applications", function()
    for _, tenant in ipairs { "common", "Organizations", "consumers" } do
      local place, message = find({}, { tenant = tenant })
      assert.is_nil(place)
      assert.is_truthy(message:find "an application cannot sign in to")
    end
    assert.is_nil(authority.tenant_complaint("organizations", true))
    assert.is_nil(authority.tenant_complaint("common", true))
    assert.is_truthy(authority.tenant_complaint("consumers", true):find "personal accounts")
  end)

  it("names the missing option", function()
    local place, message = find({}, {})
    assert.is_nil(place)
    assert.is_truthy(message:find "the tenant is not known")
    assert.are.equal("fallen", find({}, {}, { tenant = "fallen" }).tenant)
    place, message = find({}, { tenant = "a", cloud = "mars" })
    assert.is_nil(place)
    assert.is_truthy(message:find "cloud")
  end)
end)
