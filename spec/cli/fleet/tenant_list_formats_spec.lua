-- The forms that a list of tenants may have: names, CSV, JSON Lines, exports of other programs.

local tenant_lists = require "support.tenant_lists"

local read, names = tenant_lists.read, tenant_lists.names

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

    it("may end its lines as old Macs do", function()
      assert.equal("a.com b.com c.com", names((read "a.com\rb.com\r\r#\rc.com")))
    end)

    it("may have braces around an id, quotes around a name, and separators behind it", function()
      local tenants, told =
        read("{" .. guid .. '}\n"a.com",\nb.com;\n\'c.com\'\n"d.com"\n e.com,,\t\n')
      assert.equal(guid .. " a.com b.com c.com d.com e.com", names(tenants))
      assert.same({}, told)
      tenants = read('"{' .. guid .. '}",\n' .. guid:upper())
      assert.equal(1, #tenants)
    end)

    it("may have a header that is not a tenant, which is reported and skipped", function()
      for _, header in ipairs { "Tenants", "Customer name", "Tenants!", "our_domains", "GUID" } do
        local tenants, told, list = read(header .. "\na.com\n")
        assert.equal("a.com", names(tenants), header)
        assert.same({ "line 1: it is no tenant, and was taken for a header" }, told)
        assert.equal(0, list.bad)
      end
    end)

    it("has no header if the first line may be a tenant, even a malformed one", function()
      for _, first in ipairs { "contoso", "contoso com", "customer1", "tenant.example" } do
        local tenants, told = read(first .. "\na.com\n")
        assert.equal(2, #tenants + #told, first)
      end
    end)
  end)

  describe("out of another program", function()
    local function only_tenant(text, column)
      local tenants, told = read(text, column)
      assert.equal(1, tenants and #tenants, told)
      assert.equal(1, #told)
      return tenants[1].tenant, told[1]
    end

    it("is read by the column of tenants; the others are named once", function()
      local tenant, told = only_tenant(
        '\239\187\191"Microsoft ID","Company name","Primary domain name","Relationship","Tags"\r\n"'
          .. guid
          .. '","Contoso, Ltd","contoso.com","Cloud reseller",""\r\n'
      )
      assert.equal(guid, tenant)
      assert.equal(
        "line 1: columns that are ignored: Company name, Primary domain name, Relationship, Tags",
        told
      )
    end)

    it("may come from Partner Center, CIPP, Lighthouse, Graph and PowerShell", function()
      for _, header in ipairs {
        "displayName,defaultDomainName,TENANT,x,y",
        "displayName,TENANT,x",
        "Name,Default Domain,customerId,Portal",
      } do
        header = header:gsub("TENANT", "customerId")
        local row = header:gsub("customerId", guid):gsub("[^,]*[Dd]omain[^,]*", "x.com")
        assert.equal(guid, (only_tenant(header .. "\n" .. row .. "\n")))
      end
      local rows = {
        ["Tenant,Tenant ID,Status"] = "Contoso Ltd," .. guid .. ",Active",
        ["Id;TenantId;Name"] = "7;" .. guid .. ";Contoso",
        ['#TYPE Contract\n"ContractType","CustomerId","DefaultDomainName","Id"'] = '"Customer","'
          .. guid
          .. '","contoso.com","6ba7b810-9dad-11d1-80b4-00c04fd430c8"',
        ['"Directory (tenant) ID"\t"Display name"'] = guid .. "\tContoso",
        ["tenantId,tenantCategory,id"] = guid .. ",Home,/tenants/" .. guid,
      }
      for header, row in pairs(rows) do
        assert.equal(guid, (only_tenant(header .. "\n" .. row .. "\n")), header)
      end
      assert.equal("contoso.com", (only_tenant "Name,Primary domain\nContoso,contoso.com\n"))
    end)

    it("is read by the column that the user names", function()
      local list = "Name;Mandant;clout;Tenant\nContoso;contoso.com;x;y\n"
      assert.equal("contoso.com", (only_tenant(list, "mandant")))
      assert.equal("contoso.com", (only_tenant("Cloud,x\ncontoso.com,y\n", "cloud")))
      assert.equal("contoso.com", names((read("Mandant\ncontoso.com\n", "Mandant"))))
      assert.equal("contoso.com", (only_tenant('{"Mandant":"contoso.com","n":1}\n', "mandant")))
      for _, text in ipairs { list, "contoso.com\n" } do
        local tenants, mistake = read(text, "Kunde")
        assert.is_nil(tenants)
        assert.equal("line 1: it has no column of the name that was given with --column", mistake)
      end
    end)

    it("is refused as a whole, with advice, when no column is known", function()
      local tenants, mistake = read "Name,Mandant\nContoso,contoso.com\n"
      assert.is_nil(tenants)
      assert.matches("name it with %-%-column$", mistake)
    end)

    it("names few of many ignored columns, without control characters", function()
      local parts = { '{"tenant":"a.com","a\\u001b[2Jb":1' }
      for index = 2, 30 do
        parts[index] = ('"x%02d%s":1'):format(index, ("x"):rep(100))
      end
      local _, told = only_tenant(table.concat(parts, ",") .. "}\n")
      assert.matches("^line 1: columns that are ignored: a%?%[2Jb, x02x+, .* and 22 more$", told)
      assert.is_true(#told < 400)
    end)

    it("may be UTF-16 with a byte order mark, as Excel and PowerShell write it", function()
      local text = "tenant\tcloud\r\na.com\tchina\r\n"
      for mark, unit in pairs { ["\255\254"] = "%0\0", ["\254\255"] = "\0%0" } do
        local tenants, told = read(mark .. text:gsub(".", unit))
        assert.same({ { tenant = "a.com", cloud = "china", line = 2 } }, tenants)
        assert.same({}, told)
      end
    end)

    it("is refused once, naming its format, when it is not text", function()
      for text, expected in pairs {
        ["PK\3\4\20\0\6\0\n\1\n"] = "it is an Excel workbook or another ZIP archive: "
          .. "save the sheet as CSV",
        ["\208\207\17\224\161\177\26\225"] = "it is an Excel workbook (.xls): "
          .. "save the sheet as CSV",
        ["\31\139\8\0\n\n"] = "it is compressed with gzip: unpack it first",
        ["%PDF-1.7\n%\226"] = "it is a PDF",
        ["SQLite format 3\0\n"] = "it is an SQLite database, such as the file of --state",
        ["<!DOCTYPE html>\n"] = "it is HTML or XML",
        ["a\0.\0c\0o\0m\0\n\0b\0"] = "it is UTF-16 without a byte order mark: "
          .. "save it as UTF-8",
        ["\0a\0.\0c\0o\0m\0\n\0b"] = "it is UTF-16 without a byte order mark: "
          .. "save it as UTF-8",
        ["\127ELF\2\1\1\0"] = "it is no text",
      } do
        local tenants, mistake = read(text)
        assert.is_nil(tenants, expected)
        assert.equal(expected, mistake)
      end
    end)
  end)

  describe("as CSV", function()
    it("has columns in any order, and treats an empty field as missing", function()
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

    it("may declare its separator in its first line, or use tabs", function()
      for _, text in ipairs {
        "sep=;\r\ntenant;cloud\r\na.com;china\r\n",
        '"sep=|"\ntenant|cloud\na.com|china\n',
        "sep=\t\ntenant\tcloud\na.com\tchina\n",
        "tenant\tcloud\na.com\tchina\n",
        "SEP=,\ncloud,tenant\nchina,a.com\n",
      } do
        local tenants, told = read(text)
        assert.equal("a.com", names(tenants))
        assert.equal("china", tenants[1].cloud)
        assert.same({}, told)
      end
    end)

    it("may have empty fields at the end of its lines", function()
      local tenants, told = read "tenant,cloud,,\na.com,china,,\nb.com,\nc.com,,,,,\n"
      assert.equal("a.com b.com c.com", names(tenants))
      assert.same({}, told)
    end)

    it("may be written by a spreadsheet", function()
      local tenants, told = read '\239\187\191"Tenant ID";"Client ID"\r\n"contoso.com";""\r\n'
      assert.same({ { tenant = "contoso.com", line = 2 } }, tenants)
      assert.same({}, told)
    end)

    it("is refused as a whole for a header with an error", function()
      for text, pattern in pairs {
        ["contoso.com,china\n"] = "line 1: a CSV file begins with the names of its columns",
        ["tenant,clout\nx.com,\n"] = "line 1: unknown field 'clout': did you mean 'cloud'%?",
        ["tenant,client_secret\n"] = "must hold no secret; name a file",
        ["tenant,cloud,tenant\n"] = "the column 'tenant' is there twice",
      } do
        local tenants, mistake = read(text)
        assert.is_nil(tenants, text)
        assert.matches(pattern, mistake)
      end
    end)

    it("skips only the line with too many or too few fields, or a missing quote", function()
      local tenants, told = read 'tenant,cloud\na.com\nb.com,,x\n"c.com,\nd.com,\n'
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

    it("skips a line with an error", function()
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
        "line 9: since must be Unix seconds, a time with Z or an offset "
          .. "(2026-07-23T13:23:15+02:00), now, or -10s or -10m",
        "line 10: tenant must be a tenant id or a domain",
      }, { told[1], told[2], told[3], told[4], told[5], told[6], told[7], told[8], told[9] })
      assert.matches("^line 11: tenant must be the id or a domain of one tenant", told[10])
    end)
  end)
end)
