-- Colours: on a terminal only, and not if the user has turned them off.

local command = require "support.command"
local scripted = require "autopilot.transport.scripted"

--- What a refused sync prints on standard error.
local function told(is_terminal, env, args)
  env.AUTOPILOT_TOKEN = "good"
  return command.run(args or "sync --attempts 1", {
    env = env,
    is_terminal = is_terminal,
    transport = scripted { { status = 403 } },
  }).err
end

describe("a failure on a terminal", function()
  it("is red, and its hint is not", function()
    assert.matches("^\27%[31msync: forbidden[^\n]*\27%[0m\n[^\27]+\n$", told(true, {}))
    assert.matches("^\27%[31mautopilot%-sync: unknown option", told(true, {}, "sync --x"))
  end)

  it(
    "has no colour with NO_COLOR, or where TERM is dumb; an empty NO_COLOR counts as not set",
    function()
      assert.is_nil(told(true, { NO_COLOR = "1" }):find("\27", 1, true))
      assert.is_nil(told(true, { TERM = "dumb" }):find("\27", 1, true))
      assert.matches("\27", told(true, { NO_COLOR = "" }))
    end
  )

  it("has no colour on Windows", function()
    local config = package.config
    rawset(package, "config", "\\" .. config:sub(2))
    local text = told(true, {})
    rawset(package, "config", config)
    assert.is_nil(text:find("\27", 1, true))
  end)

  it("has no colour in a pipe or a file", function()
    assert.is_nil(told(false, {}):find("\27", 1, true))
    assert.is_nil(told(false, {}, "sync --verbose"):find("\27", 1, true))
  end)

  it("is beside grey lines of --verbose", function()
    assert.matches("\n\27%[90m +0%.%d+ > POST [^\n]*\27%[0m\n", told(true, {}, "sync --verbose"))
  end)
end)
