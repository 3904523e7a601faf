local base64url = require "autopilot.base.base64url"

describe("autopilot.base.base64url", function()
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
      assert.are.equal(bytes, base64url.decode(text))
    end
  end)

  it("reads back what it has written", function()
    local bytes = {}
    for value = 0, 255 do
      bytes[#bytes + 1] = string.char(value, (value * 7) % 256)
      local text = table.concat(bytes)
      assert.are.equal(text, base64url.decode(base64url.encode(text)))
    end
    for length = 3000, 3100 do
      local text = ("\0\255abc"):rep(700):sub(1, length)
      assert.are.equal(text, base64url.decode(base64url.encode(text)))
    end
  end)

  it("reads both alphabets, with padding and without", function()
    for _, text in ipairs { "+//+", "-__-" } do
      assert.are.equal("\251\255\254", base64url.decode(text))
    end
    assert.are.equal("f", base64url.decode "Zg==")
    assert.are.equal("fo", base64url.decode "Zm8=")
  end)

  it("refuses text that is not base64", function()
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
      assert.is_nil(base64url.decode(text))
    end
  end)
end)
