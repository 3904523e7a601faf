-- core.may_echo, the quick look at a text: false must be certain, or a secret gets into a report.

local core = require "autopilot.core"
local redact = require "autopilot.base.redact"
local seeded_random = require "support.seeded_random"

local may_echo = core.may_echo

describe("core.may_echo", function()
  it("suspects a text with a sign of anybody's secret, or of an escape", function()
    for _, text in ipairs { "a eyJ", "100 %", "back\\slash", "Bearer x", "bearer x" } do
      assert.is_true(may_echo({}, text), text)
    end
    for _, text in ipairs { "", "a plain text", "EYJ", "bear err", [[{"Ring":"5"}]] } do
      assert.is_false(may_echo({}, text), text)
    end
  end)

  it("looks into each of the texts for each of the secrets", function()
    local secrets = { "first-secret-of-some-length", "second" }
    assert.is_true(may_echo(secrets, "x", "the first-secret-of-it is here"))
    assert.is_true(may_echo(secrets, nil, "x", "the second"))
    assert.is_false(may_echo(secrets, "x", "first-secret-of", "secon"))
    assert.is_false(may_echo(secrets))
  end)

  it("finds a part behind a dot that could stand alone, and no shorter one", function()
    local secrets = { "eyJhead.eyJclaims.0123456789abcdef-signature" }
    assert.is_true(may_echo(secrets, "it ends in 0123456789abcdef"))
    assert.is_false(may_echo(secrets, "it ends in 0123456789abcde"))
    assert.is_false(may_echo({ "0123456789abcdef.short.part" }, "short"))
  end)

  it("passes over what is no string", function()
    assert.is_false(may_echo({ 7, false, "", {} }, "7", "false"))
    assert.is_false(may_echo({ "7" }, 7, true, {}))
    assert.is_true(may_echo({ 7, x = "needle" }, "a needle"))
  end)

  it("wants a list of secrets", function()
    assert.has_error(function()
      may_echo(nil, "text")
    end)
  end)

  it("never lets pass what redacting takes out", function()
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
      local dot = random() < 0.5 and secret:find(".", math.floor(random() * 40) + 1, true)
      local from = (dot or 0) + 1
      local piece = secret:sub(from, from + math.floor(random() * 40))
      local text = letters(math.floor(random() * 30)) .. piece .. letters(math.floor(random() * 30))
      local marked = text .. " %" -- looked at closely in any case
      if redact.text(marked, { secret }) ~= marked then
        changed = changed + 1
        assert.is_true(may_echo({ secret }, text), secret .. " in " .. text)
        assert.are_not.equal(text, redact.text(text, { secret }))
      end
    end
    assert.is_true(changed > 300)
  end)
end)
