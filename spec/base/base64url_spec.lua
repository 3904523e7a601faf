local base64url = require "autopilot.base.base64url"

--- The module as it is where the C module is missing.
local function load_in_lua()
  local core, name = package.loaded["autopilot.core"], "autopilot.base.base64url"
  package.loaded["autopilot.core"], package.loaded[name] = nil, nil
  package.preload["autopilot.core"] = error
  local in_lua = require(name)
  package.preload["autopilot.core"] = nil
  package.loaded["autopilot.core"], package.loaded[name] = core, base64url
  return in_lua
end

local in_lua = load_in_lua()

--- What both decoders make of a text.
local function decode(text)
  local bytes = base64url.decode(text)
  assert.are.equal(bytes, in_lua.decode(text))
  return bytes
end

describe("autopilot.base.base64url", function()
  it("decodes in C where that is there", function()
    assert.are_not.equal(base64url.decode, in_lua.decode)
  end)

  it("writes the examples of RFC 4648 without padding", function()
    local examples = {
      [""] = "",
      f = "Zg",
      fo = "Zm8",
      foo = "Zm9v",
      foob = "Zm9vYg",
      fooba = "Zm9vYmE",
      foobar = "Zm9vYmFy",
      ["\251\255\254"] = "-__-",
    }
    for bytes, text in pairs(examples) do
      assert.are.equal(text, base64url.encode(bytes))
      assert.are.equal(bytes, decode(text))
    end
  end)

  it("reads back whatever it has written", function()
    local bytes = {}
    for value = 0, 255 do
      bytes[#bytes + 1] = string.char(value, (value * 7) % 256)
      local text = table.concat(bytes)
      assert.are.equal(text, decode(base64url.encode(text)))
    end
  end)

  it("reads both alphabets, with padding and without", function()
    for _, text in ipairs { "+//+", "-__-" } do
      assert.are.equal("\251\255\254", decode(text))
    end
    assert.are.equal("f", decode "Zg==")
    assert.are.equal("fo", decode "Zm8=")
  end)

  it("refuses what is no base64", function()
    for _, text in ipairs {
      "Z",
      "Zg=",
      "Zg===",
      "Zm9v=",
      "Z=g=",
      "====",
      "Zm 9v",
      "Zm9v\n",
      "Zh", -- bits left over
      "Zm9v.Zm9v",
      "Zm\0v",
      "\195\164bc",
    } do
      assert.is_nil(decode(text))
    end
  end)
end)
