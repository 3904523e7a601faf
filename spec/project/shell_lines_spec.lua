-- Which lines of a page are for a shell.

local shell_lines = require "support.shell_lines"

describe("lines for a shell", function()
  it("are distinguished from Lua, output and prose", function()
    local lines = shell_lines.read(table.concat({
      "text",
      "    no code",
      "",
      "    one   # a comment",
      "    $ two",
      "    printed",
      "",
      "    three",
      "```lua",
      "",
      "    not_this()",
      "```",
      "```sh",
      "four",
      "```",
      "",
    }, "\n"))
    local texts = {}
    for index, line in ipairs(lines) do
      texts[index] = line.text .. table.concat(line.output, ",")
    end
    assert.same({ "one", "twoprinted", "three", "four" }, texts)
  end)
end)
