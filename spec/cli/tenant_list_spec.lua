local seeded_random = require "support.seeded_random"
local tenant_list = require "autopilot.cli.tenant_list"

local function reader_of(text)
  local from = 1
  return function()
    if from > #text then
      return nil
    end
    local last = text:find("\n", from, true) or #text + 1
    local line = text:sub(from, last - 1)
    from = last + 1
    return line
  end
end

-- All tenants of a list, what was said of its lines, and the list; or nil and the mistake.
local function read(text)
  local told = {}
  local list, mistake = tenant_list.open {
    read_line = reader_of(text),
    cloud = "global",
    size = #text,
    complain = function(message)
      told[#told + 1] = message
    end,
  }
  if not list then
    return nil, mistake
  end
  local tenants = {}
  for tenant in
    function()
      return list:next()
    end
  do
    tenants[#tenants + 1] = tenant
  end
  return tenants, told, list
end

local function names(tenants)
  local found = {}
  for index, tenant in ipairs(tenants) do
    found[index] = tenant.tenant
  end
  return table.concat(found, " ")
end

local guid = "5c0e6a3e-9f7d-4f0b-8a55-2a4be9e8a001"

describe("a list of tenants", function()
  describe("of plain names", function()
    it("has one in each line; blanks, empty lines and comments do not count", function()
      local tenants, told = read(" contoso.com \n\n# ours\n" .. guid .. "\nfabrikam.de")
      assert.equal("contoso.com " .. guid .. " fabrikam.de", names(tenants))
      assert.same({}, told)
      assert.equal(4, tenants[2].line)
    end)

    it("may come from Windows", function()
      local tenants, told = read "\239\187\191contoso.com\r\nfabrikam.de\r\n"
      assert.equal("contoso.com fabrikam.de", names(tenants))
      assert.same({}, told)
    end)
  end)

  describe("as CSV", function()
    it("has columns in any order, and says nothing with an empty field", function()
      local tenants, told = read(
        "cloud,tenant,client_secret_file,client_id,since\n"
          .. 'china,contoso.cn,"a,b.txt",'
          .. guid
          .. ",-10m\n"
          .. ",fabrikam.com,,,\n"
          .. ",,,,\n"
      )
      assert.same({
        tenant = "contoso.cn",
        cloud = "china",
        client_secret_file = "a,b.txt",
        client_id = guid,
        since = "-10m",
        line = 2,
      }, tenants[1])
      assert.same({ tenant = "fabrikam.com", line = 3 }, tenants[2])
      assert.same({}, told)
    end)

    it("may be what a spreadsheet writes", function()
      local tenants, told = read '\239\187\191"Tenant ID";"Client ID"\r\n"contoso.com";""\r\n'
      assert.same({ { tenant = "contoso.com", line = 2 } }, tenants)
      assert.same({}, told)
    end)

    it("is refused as a whole for a header that cannot be meant", function()
      for text, pattern in pairs {
        ["contoso.com,china\n"] = "line 1: a CSV file begins with the names of its columns",
        ["tenant,clout\nx.com,\n"] = "line 1: unknown field 'clout': did you mean 'cloud'%?",
        ["tenant,contact\n"] = "unknown field 'contact': there are client_id, client_secret_file",
        ["tenant,client_secret\n"] = "must hold no secret; name a file",
        ["tenant,cloud,tenant\n"] = "the column 'tenant' is there twice",
      } do
        local tenants, mistake = read(text)
        assert.is_nil(tenants, text)
        assert.matches(pattern, mistake)
      end
    end)

    it("leaves out a line with too many or too few fields, or a forgotten quote, alone", function()
      local tenants, told = read 'tenant,cloud\na.com\nb.com,,\n"c.com,\nd.com,\n'
      assert.equal("d.com", names(tenants))
      assert.same({
        "line 2: its number of fields is 1, not 2 as in the header",
        "line 3: its number of fields is 3, not 2 as in the header",
        "line 4: a quote is not closed in its line",
      }, told)
    end)
  end)

  describe("as JSON Lines", function()
    it("has an object in each line", function()
      local tenants, told = read(
        '{"tenant": "contoso.com", "cloud": "us_gov", "since": null}\n\n'
          .. '{"tenantId": "fabrikam.com", "clientId": "'
          .. guid
          .. '"}\n'
      )
      assert.same({
        { tenant = "contoso.com", cloud = "us_gov", line = 1 },
        { tenant = "fabrikam.com", client_id = guid, line = 3 },
      }, tenants)
      assert.same({}, told)
    end)

    it("leaves out a line that is not what it should be", function()
      local tenants, told, list = read(table.concat({
        '{"tenant": "a.com"}',
        '{"tenant": "b.com"',
        '["c.com"]',
        '{"tenant": 7}',
        '{"cloud": "global"}',
        '{"tenant": "d.com", "clout": "china"}',
        '{"tenant": "e.com", "client_secret": "hunter2"}',
        '{"tenant": "f.com", "cloud": "chna"}',
        '{"tenant": "g.com", "since": "yesterday"}',
        '{"tenant": "h.com/../i"}',
        '{"tenant": "common"}',
      }, "\n"))
      assert.equal("a.com", names(tenants))
      assert.equal(10, list.bad)
      assert.same({
        "line 2: is no JSON object",
        "line 3: is no JSON object",
        "line 4: tenant must be a text",
        "line 5: tenant is missing",
        "line 6: unknown field 'clout': did you mean 'cloud'?",
        "line 7: field 'client_secret': a list of tenants must hold no secret; name a file that "
          .. "does, as client_secret_file",
        "line 8: cloud must be one of china, global, us_gov, us_gov_dod: did you mean 'china'?",
        "line 9: since must be Unix seconds, a time like 2026-07-23T11:23:15Z, now or -10m",
        "line 10: tenant must be a tenant id or a domain",
      }, { told[1], told[2], told[3], told[4], told[5], told[6], told[7], told[8], told[9] })
      assert.matches("^line 11: tenant must be the id or a domain of one tenant", told[10])
    end)
  end)

  it("does not take standard input for a tenant's secret", function()
    local tenants, told = read "tenant,client_secret_file\na.com,-\nb.com,./-\n"
    assert.equal("b.com", names(tenants))
    assert.same({ "line 2: client_secret_file must be the name of a file" }, told)
  end)

  it("tells a tenant that was there before, and its first line", function()
    local tenants, told, list = read "contoso.com\nfabrikam.com\nContoso.COM\n"
    assert.equal("contoso.com fabrikam.com", names(tenants))
    assert.same({ "line 3: Contoso.COM is in line 1 already: left out" }, told)
    assert.equal(1, list.duplicates)
    assert.equal(0, list.bad)
  end)

  it(
    "takes the same domain in two clouds for two tenants, and its own cloud for the default",
    function()
      local tenants, told =
        read "tenant,cloud\ncontoso.com,\ncontoso.com,china\ncontoso.com,global\n"
      assert.equal(2, #tenants)
      assert.same({ "line 4: contoso.com is in line 2 already: left out" }, told)
    end
  )

  it("without a tenant is refused", function()
    for _, text in ipairs { "", "\n\n", "# nothing\n", "\239\187\191" } do
      local tenants, mistake = read(text)
      assert.is_nil(tenants)
      assert.equal("there is no tenant in it", mistake)
    end
  end)

  it("in another encoding is refused", function()
    local tenants, mistake = read "\255\254c\0o\0n\0t\0o\0s\0o\0\n\0"
    assert.is_nil(tenants)
    assert.equal("it is UTF-16: save it as UTF-8", mistake)
  end)

  it("leaves out lines that no list has, and quotes nothing of them", function()
    local tenants, told =
      read("a.com\nb.com\0\n" .. ("x"):rep(65537) .. "\nc.com my-secret\n\27[2Jd.com\n")
    assert.equal("a.com", names(tenants))
    assert.same({
      "line 2: has a NUL in it",
      "line 3: is too long",
      "line 4: tenant must be a tenant id or a domain",
      "line 5: tenant must be a tenant id or a domain",
    }, told)
  end)

  it("is read no further than it is asked for", function()
    local lines = 0
    local list = tenant_list.open {
      cloud = "global",
      complain = error,
      read_line = function()
        lines = lines + 1
        return ("tenant%d.com"):format(lines)
      end,
    }
    for _ = 1, 10 do
      list:next()
    end
    assert.equal(10, lines)
  end)

  it("estimates how many it has from its length, and knows in the end", function()
    local lines = {}
    for index = 1, 100 do
      lines[index] = ("tenant%03d.com"):format(index)
    end
    local text = table.concat(lines, "\n") .. "\n"
    local list = tenant_list.open {
      read_line = reader_of(text),
      cloud = "global",
      size = #text,
      complain = error,
    }
    assert.is_nil(list:expected())
    for _ = 1, 10 do
      list:next()
    end
    assert.same({ 100, false }, { list:expected() })
    while list:next() do
      assert.is_true(list:expected() >= list.count)
    end
    assert.same({ 100, true }, { list:expected() })
  end)

  -- LIST_SEED repeats a case.
  it("of any bytes gives well-formed tenants or sentences, and never an error", function()
    local chance = seeded_random.new "LIST_SEED"
    local pieces = {
      "tenant",
      "cloud",
      "client_id",
      "since",
      "contoso.com",
      guid,
      "china",
      "-5m",
      ",",
      ",",
      ";",
      '"',
      "{",
      "}",
      ":",
      '{"tenant":"',
      '"}',
      "\n",
      "\n",
      "\r\n",
      "\239\187\191",
      " ",
      "#",
    }
    for _ = 1, 1500 do
      local parts = {}
      for place = 1, chance:integer(0, 25) do
        parts[place] = chance:integer(1, 12) == 1 and string.char(chance:integer(0, 255))
          or chance:pick(pieces)
      end
      local text = table.concat(parts)
      local tenants, told, list = read(text)
      if tenants then
        for _, tenant in ipairs(tenants) do
          assert.is_truthy(tenant.tenant:find "^%w[%w%.%-]*$", tostring(chance))
        end
        assert.equal(list.bad + list.duplicates, #told, tostring(chance))
        assert.equal(list.count, #tenants)
      else
        assert.equal("string", type(told), tostring(chance))
      end
      for _, sentence in ipairs(tenants and told or { told }) do
        assert.is_nil(sentence:find "%c", tostring(chance))
      end
    end
  end)
end)
