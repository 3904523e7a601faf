local csv = { fields = require("autopilot.cli.fleet.lines").values }
local seeded_random = require "support.seeded_random"

describe("a line of comma-separated values", function()
  it("is cut at its separators, blanks kept", function()
    assert.same({ "a", " b ", "", "c" }, csv.fields("a, b ,,c", ","))
    assert.same({ "a,b", "c" }, csv.fields("a,b;c", ";"))
    assert.same({ "" }, csv.fields("", ","))
    assert.same({ "", "" }, csv.fields(",", ","))
  end)

  it(
    "may have quotes around a field, in which the separator is text and two quotes are one",
    function()
      assert.same(
        { "a,b", 'say "hello"', "", '"' },
        csv.fields('"a,b","say ""hello""","",""""', ",")
      )
    end
  )

  it("is refused when its quotes do not obey the rules", function()
    for line, pattern in pairs {
      ['a,"b'] = "not closed",
      ['"'] = "not closed",
      ['"""'] = "not closed",
      ['"a"b,c'] = "behind a closing quote",
      ['"a" ,c'] = "behind a closing quote",
      ['a"b,c'] = "does not begin with one",
      [' "a",c'] = "does not begin with one",
    } do
      local fields, message = csv.fields(line, ",")
      assert.is_nil(fields, line)
      assert.matches(pattern, message)
    end
  end)

  -- CSV_SEED repeats a case.
  it("reads back every field that was written", function()
    local chance = seeded_random.new "CSV_SEED"
    local characters = { "a", "B", " ", ",", ";", '"', "\t", "\0", "\195\164", "." }
    for _ = 1, 400 do
      local separator = chance:pick { ",", ";" }
      local fields, written = {}, {}
      for index = 1, chance:integer(1, 5) do
        local parts = {}
        for place = 1, chance:integer(0, 6) do
          parts[place] = chance:pick(characters)
        end
        local text = table.concat(parts)
        local must_be_quoted = text:find('"', 1, true) or text:find(separator, 1, true)
        local is_quoted = must_be_quoted or chance:integer(1, 3) == 1
        fields[index] = text
        written[index] = is_quoted and '"' .. text:gsub('"', '""') .. '"' or text
      end
      assert.same(fields, csv.fields(table.concat(written, separator), separator), tostring(chance))
    end
  end)

  it("of any bytes is read or refused, and never raises", function()
    local chance = seeded_random.new "CSV_SEED"
    for _ = 1, 2000 do
      local parts = {}
      for place = 1, chance:integer(0, 12) do
        parts[place] = chance:pick { '"', '"', ",", "a", string.char(chance:integer(0, 255)) }
      end
      local line = table.concat(parts)
      local fields, message = csv.fields(line, ",")
      assert.equal(fields == nil, type(message) == "string", tostring(chance))
      if fields and not line:find('"', 1, true) then
        assert.equal(line, table.concat(fields, ","), tostring(chance))
      end
    end
  end)
end)
