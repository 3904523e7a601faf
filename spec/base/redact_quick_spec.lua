-- The quick look at a text: false must be certain, or a secret gets into a report.

local core = require "autopilot.core"
local redact = require "autopilot.base.redact"
local seeded_random = require "support.seeded_random"

local function is_suspect(text, secrets)
  return core.may_echo(secrets, text)
end

describe("autopilot.core.may_echo", function()
  it("suspects a text with the usual signs of a secret, or with an escape", function()
    local suspect = { "a eyJ", "100 %", "back\\slash", "Bearer x", "bearer x", "a&b", "a<b", "a+b" }
    for _, text in ipairs(suspect) do
      assert.is_true(is_suspect(text, {}), text)
    end
    for _, text in ipairs { "", "a plain text", "EYJ", "bear err", [[{"Ring":"5"}]] } do
      assert.is_false(is_suspect(text, {}), text)
    end
  end)

  it("looks for each of the secrets", function()
    local secrets = { "first-secret-of-some-length", "second" }
    assert.is_true(is_suspect("the first-secret-of-it is here", secrets))
    assert.is_true(is_suspect("the second", secrets))
    for _, text in ipairs { "", "x", "of-first", "secon" } do
      assert.is_false(is_suspect(text, secrets))
    end
  end)

  it("suspects text that is not visible ASCII, or too long for a quick look", function()
    for code = 0, 255 do
      local is_visible = code >= 32
        and code <= 126
        and not ("%&+<\\"):find(string.char(code), 1, true)
      assert.equal(not is_visible, is_suspect("a" .. string.char(code) .. "b", {}), code)
    end
    assert.is_false(is_suspect(("a"):rep(1000), {}))
    assert.is_true(is_suspect(("a"):rep(1001), {}))
  end)

  it("finds every part of 16 characters, with or without blanks in it", function()
    local secret = "head.0123456789abcdef-ghijklmnopqrst~uvwxyz"
    for first = 1, #secret - 15 do
      local part = secret:sub(first, first + 15)
      for before = 0, 12 do
        assert.is_true(is_suspect(("#"):rep(before) .. part .. "#", { secret }))
        assert.is_true(is_suspect(("#"):rep(before) .. part:gsub("..", "%0 ") .. "#", { secret }))
      end
    end
  end)

  it("suspects every text where a secret has a character of an encoding", function()
    for _, secret in ipairs {
      "a\\bcd",
      "a%41bcd",
      "a&bcd",
      "a+bcd",
      "a<b>cd",
      "a bcd",
      "a\195\164bcd",
    } do
      assert.is_true(is_suspect("nothing", { secret }))
    end
  end)

  it("ignores secrets that are empty or not strings", function()
    assert.is_false(is_suspect("7 false", { 7, false, "", {} }))
    assert.is_true(is_suspect("a needle", { 7, x = "needle" }))
  end)

  it("never passes a text that redacting would change", function()
    local random = seeded_random.generator(4711)
    local function letters(count)
      local text = {}
      for index = 1, count do
        local place = math.floor(random() * 40) + 1
        text[index] = ("abcdefghijklmnopqrstuvwxyz0123456789-_.."):sub(place, place)
      end
      return table.concat(text)
    end
    local changed = 0
    for _ = 1, 3000 do
      local secret = letters(math.floor(random() * 80) + 1)
      local from = math.floor(random() * #secret) + 1
      local piece = secret:sub(from, from + math.floor(random() * 40))
      local text = letters(math.floor(random() * 30)) .. piece .. letters(math.floor(random() * 30))
      local marked = text .. " %" -- looked at closely in any case
      if redact.text(marked, { secret }) ~= marked then
        changed = changed + 1
        assert.is_true(is_suspect(text, { secret }), secret .. " in " .. text)
        assert.are_not.equal(text, redact.text(text, { secret }))
      end
    end
    assert.is_true(changed > 300)
  end)
end)
