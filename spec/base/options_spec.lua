local options = require "autopilot.base.options"

local rules = {
  token = { type = { "string", "function" }, required = true, secret = true },
  tenant = { type = "string" },
  attempts = { type = "integer", default = 4, min = 1, max = 100 },
  cloud = { type = "string", one_of = { "global", "china" }, default = "global" },
  timeout = {
    type = "table",
    fields = { total = { type = "number", default = 60, above = 0 } },
  },
  pin = {
    type = "string",
    secret = true,
    check = function()
      return "must have digits only"
    end,
  },
  even = {
    type = "integer",
    check = function(value)
      return value % 2 ~= 0 and "must be even" or nil
    end,
  },
}

local function make(given)
  local checked = options.check("library.make", rules, given) -- no tail call: it would lose the level
  return checked
end

local function mistake(given)
  local ok, message = pcall(function()
    local made = make(given)
    return made
  end)
  assert.is_false(ok)
  return message
end

describe("autopilot.base.options", function()
  it("fills in defaults, in nested tables too, without changing what was given", function()
    local given = { token = "t" }
    local checked = make(given)
    assert.same({ token = "t", attempts = 4, cloud = "global", timeout = { total = 60 } }, checked)
    assert.same({ token = "t" }, given)
  end)

  it("raises at the line of the caller", function()
    local line = debug.getinfo(1, "l").currentline + 2
    local _, message = pcall(function()
      local made = make { tokn = "t" }
      return made
    end)
    assert.matches("options_spec%.lua:" .. line .. ": library%.make: ", message)
  end)

  it("names an unknown option and the one that was probably meant", function()
    assert.matches("unknown option 'tokn' %(did you mean 'token'%?%)$", mistake { tokn = "t" })
    assert.matches("unknown option 'tenatn' %(did you mean 'tenant'%?%)$", mistake { tenatn = "t" })
    assert.matches("unknown option 'zebra'$", mistake { zebra = 1 })
    assert.matches("unknown option '1'$", mistake { "t" })
    assert.matches(
      "unknown option 'timeout%.totl' %(did you mean 'timeout%.total'%?%)$",
      mistake { token = "t", timeout = { totl = 1 } }
    )
    assert.matches(
      "unknown option 'total' %(did you mean 'timeout%.total'%?%)$",
      mistake { token = "t", total = 1 }
    )
    assert.matches(
      "unknown option 'deadline' %(did you mean 'timeout'%?%)$",
      mistake { token = "t", deadline = 1 }
    )
  end)

  it("names the path, the rule and the value of a wrong option", function()
    local wrong = {
      ["option 'token' is required$"] = {},
      ["option 'tenant' must be a string %(got 7%)$"] = { token = "t", tenant = 7 },
      ["option 'timeout' must be a table such as { total = … } %(got 30%)$"] = {
        token = "t",
        timeout = 30,
      },
      ["option 'timeout.total' must be above 0 %(got 0%)$"] = {
        token = "t",
        timeout = { total = 0 },
      },
      ["option 'attempts' must be at least 1 %(got 0%)$"] = { token = "t", attempts = 0 },
      ["option 'attempts' must be at most 100 %(got 101%)$"] = { token = "t", attempts = 101 },
      ["option 'attempts' must be a whole number %(got 1%.5%)$"] = { token = "t", attempts = 1.5 },
      ["option 'cloud' must be one of 'global', 'china' %(got 'mars'%)$"] = {
        token = "t",
        cloud = "mars",
      },
      ["option 'even' must be even %(got 3%)$"] = { token = "t", even = 3 },
    }
    for expected, given in pairs(wrong) do
      assert.matches(expected, mistake(given))
    end
    assert.matches("options must be a table %(got string%)$", mistake "token")
  end)

  it("refuses NaN and infinity as numbers", function()
    for _, number in ipairs { 0 / 0, math.huge, -math.huge } do
      assert.matches(
        "timeout.total' must be a number",
        mistake { token = "t", timeout = { total = number } }
      )
    end
  end)

  it("never quotes a secret", function()
    assert.matches("option 'pin' must have digits only$", mistake { token = "t", pin = "hidden" })
    assert.matches(
      "option 'token' must be a string or a function %(got number%)$",
      mistake { token = 424242 }
    )
  end)

  it("keeps a hostile value from forging a line or flooding a message", function()
    local message = mistake { token = "t", cloud = "a\nb" .. ("x"):rep(1000) }
    assert.is_nil(message:find("[\r\n]"))
    assert.is_true(#message < 300)
  end)

  it("accepts a callable table as a function", function()
    local callable = setmetatable({}, { __call = function() end })
    assert.equal(callable, make({ token = callable }).token)
  end)
end)
