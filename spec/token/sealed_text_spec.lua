-- Texts that are encrypted for one place in a store.

local sealed_text = require "autopilot.token.sealed_text"

local key = ("k"):rep(32)

describe("a sealed text", function()
  local sealing = assert(sealed_text.new(key))

  it("can be opened with the same key, for the same context", function()
    for _, text in ipairs { "", "x", "\0\255", ("long "):rep(1000) } do
      local sealed = sealing.seal("here", text)
      assert.are.equal(text, sealing.open("here", sealed))
      assert.is_nil(sealing.open("there", sealed))
      assert.is_nil(sealed_text.new(("z"):rep(32)).open("here", sealed))
    end
  end)

  it("is never the same twice", function()
    assert.are_not.equal(sealing.seal("here", "text"), sealing.seal("here", "text"))
  end)

  it("cannot be opened when a single bit of it was changed", function()
    local sealed = sealing.seal("here", "text")
    for place = 1, #sealed do
      local byte = sealed:byte(place)
      local other = string.char(byte % 2 == 0 and byte + 1 or byte - 1)
      local changed = sealed:sub(1, place - 1) .. other .. sealed:sub(place + 1)
      assert.is_nil(sealing.open("here", changed), place)
      assert.is_nil(sealing.open("here", sealed:sub(1, place - 1)), place)
    end
  end)
end)
