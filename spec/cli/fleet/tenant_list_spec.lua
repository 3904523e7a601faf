-- A list of tenants in each format: what is read, refused and reported.

local open_list = require "autopilot.cli.fleet.tenant_list"
local seeded_random = require "support.seeded_random"
local tenant_lists = require "support.tenant_lists"

local read, names, reader_of = tenant_lists.read, tenant_lists.names, tenant_lists.reader_of

local guid = "5c0e6a3e-9f7d-4f0b-8a55-2a4be9e8a001"

describe("a list of tenants", function()
  it("does not read a tenant's secret from standard input", function()
    local tenants, told = read "tenant,client_secret_file\na.com,-\nb.com,./-\n"
    assert.equal("b.com", names(tenants))
    assert.same({ "line 2: client_secret_file must be the name of a file" }, told)
  end)

  it("reports a duplicate tenant with its first line", function()
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
    for _, text in ipairs { "", "\n\n", "# nothing\n", "\239\187\191", "tenant,name\n" } do
      local tenants, mistake = read(text)
      assert.is_nil(tenants)
      assert.equal("there is no tenant in it", mistake)
    end
  end)

  it("skips malformed lines, and does not quote them", function()
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

  it("is read only as far as needed", function()
    local lines = 0
    local list = open_list {
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

  it("estimates its number of tenants from its length, and knows it at the end", function()
    local lines = {}
    for index = 1, 100 do
      lines[index] = ("tenant%03d.com"):format(index)
    end
    local text = table.concat(lines, "\n") .. "\n"
    local list = open_list {
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
  it("of any bytes gives well-formed tenants or messages, and never raises", function()
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
      "\r",
      "\t",
      "sep=;\n",
      "Microsoft ID",
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
        local notes = 0
        for _, sentence in ipairs(told) do
          local is_note = sentence:find "columns that are ignored" or sentence:find "for a header"
          notes = notes + (is_note and 1 or 0)
        end
        assert.is_true(notes <= 1)
        assert.equal(list.bad + list.duplicates + notes, #told, tostring(chance))
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
