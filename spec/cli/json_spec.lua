local cjson = require "cjson.safe"
local pieces_of = require "autopilot.cli.json"

local json = {}

function json.encode(value)
  return table.concat(pieces_of(value))
end

describe("a report as JSON", function()
  it("is one line with sorted keys, so that equal reports are equal texts", function()
    local text = json.encode {
      ok = false,
      outcome = "cooldown",
      error = { reason = "r", code = "c", message = "m" },
      attempts = { { number = 1, sends = 1 }, { number = 2 } },
    }
    assert.equal(
      '{"attempts":[{"number":1,"sends":1},{"number":2}],'
        .. '"error":{"code":"c","message":"m","reason":"r"},"ok":false,"outcome":"cooldown"}',
      text
    )
  end)

  it("writes an empty list as a list, and any other empty table as an object", function()
    assert.equal(
      '{"attempts":[],"error":{},"steps":[]}',
      json.encode { attempts = {}, steps = {}, error = {} }
    )
  end)

  it("writes whole numbers without a fraction, integers and floats alike", function()
    for number, text in pairs {
      [429] = "429",
      [2 ^ 31] = "2147483648",
      [-3] = "-3",
      [1e14] = "100000000000000",
    } do
      assert.equal('{"n":' .. text .. "}", json.encode { n = number })
    end
    assert.equal('{"n":0}', json.encode { n = -0.0 })
  end)

  it("keeps every digit of a time, so that it reads back equal", function()
    local stamp = 1784805794.5754524
    local text = json.encode { last_sync = stamp }
    assert.equal(stamp, tonumber(text:match ":(.-)}"))
    assert.equal('{"n":1784805794.5}', json.encode { n = 1784805794.5 })
    assert.equal('{"n":1e+300}', json.encode { n = 1e300 })
  end)

  it("writes durations to the microsecond", function()
    for number, text in pairs {
      [0.012435998000000836] = "0.012436",
      [609.8320000171661] = "609.832",
      [4.3e-05] = "0.000043",
      [1e-9] = "0",
      [-1e-9] = "0",
      [10.5] = "10.5",
      [100.0000001] = "100",
    } do
      assert.equal('{"n":' .. text .. "}", json.encode { n = number })
    end
  end)

  it("writes null for NaN and infinity", function()
    assert.equal(
      '{"a":null,"b":null,"c":null}',
      json.encode { a = 0 / 0, b = math.huge, c = -math.huge }
    )
    assert.equal('{"attempts":[null,1]}', json.encode { attempts = { 0 / 0, 1 } })
    assert.equal('{"attempts":[null,1]}', json.encode { attempts = { print, 1 } })
  end)

  it("omits functions, userdata and keys that are not text", function()
    assert.equal('{"ok":true}', json.encode { ok = true, f = print, u = cjson.null, [9] = 1 })
  end)

  it("escapes special characters, and a strict reader reads back what was written", function()
    local all = {}
    for byte = 0, 127 do
      all[#all + 1] = string.char(byte)
    end
    local text = table.concat(all)
    local encoded = json.encode { text = text }
    assert.is_nil(encoded:find "%c")
    assert.equal(text, cjson.decode(encoded).text)
    assert.equal('{"a\\"b":"\\u0000\\n\\\\/"}', json.encode { ['a"b'] = "\0\n\\/" })
  end)

  it("keeps well-formed UTF-8", function()
    local text = "é – 日本 😀 \244\143\191\191 \194\128 \237\159\191"
    assert.equal(text, cjson.decode(json.encode { text = text }).text)
  end)

  it("writes U+FFFD for every byte that is not valid UTF-8", function()
    local mark = "\239\191\189"
    for bytes, expected in pairs {
      ["\255"] = mark,
      ["a\128b"] = "a" .. mark .. "b",
      ["\195"] = mark,
      ["\192\175"] = mark .. mark, -- overlong
      ["\224\159\191"] = mark .. mark .. mark, -- overlong
      ["\237\160\128"] = mark .. mark .. mark, -- a surrogate
      ["\244\144\128\128"] = mark .. mark .. mark .. mark, -- beyond the last character
      ["\226\130é"] = mark .. mark .. "é",
    } do
      assert.equal('{"t":"' .. expected .. '"}', json.encode { t = bytes })
    end
  end)

  it("is written in pieces, none longer than its longest value", function()
    local Output = require "autopilot.cli.output"
    local longest, written = 0, {}
    local stream = {
      write = function(self, ...)
        for _, piece in ipairs { ... } do
          longest = math.max(longest, #piece)
          written[#written + 1] = piece
        end
        return self
      end,
      flush = function(self)
        return self
      end,
    }
    local report = { ok = false, attempts = {}, hint = ("x"):rep(40), tenant = "contoso.example" }
    for index = 1, 100 do
      report.attempts[index] = { number = index, outcome = "unreachable" }
    end
    Output.new(stream, stream):json(report)
    assert.equal(42, longest)
    assert.equal(json.encode(report) .. "\n", table.concat(written))
  end)
end)
