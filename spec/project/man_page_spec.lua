-- The man page has what the help has, and groff finds nothing wrong in it.

local arguments = require "autopilot.cli.arguments"
local emulated_service = require "support.emulated_service"
local shell = require "autopilot.cli.emulate.shell"

describe("the man page", function()
  local page = shell.read(
    'LUA_CPATH=$2 exec "$1" .ci/man.lua',
    emulated_service.interpreter(),
    emulated_service.plain_cpath()
  )

  it("names every command, option and variable of the help", function()
    local root = arguments.parser()
    local words = {}
    for _, command in ipairs(root._commands) do
      words[#words + 1] = "\n.SS " .. command._name .. "\n"
      for _, option in ipairs(command._options) do
        words[#words + 1] = "\\fB" .. option._name:gsub("%-", "\\-")
      end
    end
    for variable in root._epilog:gmatch "\n   ([%u_]+) " do
      words[#words + 1] = variable
    end
    assert.is_true(#words > 100)
    for _, word in ipairs(words) do
      assert.is_truthy(page:find(word, 1, true), word)
    end
  end)

  it("names every exit code", function()
    assert.matches("\n.SH EXIT CODES\n.nf\n   0  started, .*\n 143  ", page)
  end)

  it("is right for groff", function()
    if shell.read "command -v groff" == "" then
      pending "this machine has no groff"
    end
    local format = 'printf "%s" "$1" | groff -man -ww -Tutf8 2>&1 >/dev/null'
    assert.equal("", shell.read(format, page))
  end)
end)
