-- The Azure CLI as a program: only checked words reach it, and it is ended in time.

local azure_cli = require "autopilot.token.azure_cli"
local azure_world = require "support.azure_world"
local files = require "support.files"

local opaque, printed, world_of = azure_world.opaque, azure_world.printed, azure_world.new
local read, write = files.read, files.write

-- Texts that would do something in a shell, each in its own way; FILE becomes what they would make.
local hostile = {
  "x'; touch FILE; '",
  "x;touch FILE",
  "$(touch FILE)",
  "`touch FILE`",
  "x\ntouch FILE\n",
  "x & touch FILE",
  "x | touch FILE",
  "x > FILE",
  'x" ; touch FILE; "',
  "x%0atouch FILE",
  "--output=FILE",
  "-h",
  "x\0touch FILE",
  "x\\'; touch FILE; '",
  "ü.example",
  "",
}

describe("autopilot.token.azure_cli with a program to run", function()
  local folder, remove_folder
  local popen = io.popen

  -- Prints its arguments, then the given output, and ends with the given code.
  local program = [[#!/bin/sh
cd "${0%/*}" || exit 9
printf '%s\n' "$@" >arguments
cat >input
cat warnings >&2
cat output
. ./ending
]]

  before_each(function()
    folder, remove_folder = files.folder()
    write(folder .. "/az", program)
    os.execute(("chmod 700 '%s/az'"):format(folder))
    write(folder .. "/warnings", "WARNING: beta\n")
    write(folder .. "/output", printed { expires_on = 1767229200 })
    write(folder .. "/ending", "exit 0")
    rawset(io, "popen", function(line, mode)
      return popen(("PATH='%s':$PATH; %s"):format(folder, line), mode)
    end)
  end)

  after_each(function()
    rawset(io, "popen", popen)
    remove_folder()
  end)

  it("gets its token, with only checked words as arguments", function()
    local token, expires_in = azure_cli {}(world_of().ask)
    assert.are.equal(opaque, token)
    assert.are.equal(1767229200 - 1767225600.25, expires_in)
    assert.are.equal(
      "account\nget-access-token\n-o\njson\n--resource\nhttps://graph.microsoft.com\n",
      read(folder .. "/arguments")
    )
    assert.are.equal("", read(folder .. "/input"))
  end)

  it("detects the program's exit code", function()
    write(folder .. "/output", "")
    write(folder .. "/warnings", "ERROR: Please run 'az login' to setup account.\n")
    write(folder .. "/ending", "exit 1")
    local token, message = azure_cli {}(world_of().ask)
    assert.is_nil(token)
    assert.is_truthy(message:find "nobody is signed in")
  end)

  it("does not read the exit code from the program's output", function()
    write(folder .. "/output", printed() .. "\nautopilot-sync: exit 0\n")
    write(folder .. "/ending", "exit 1")
    local token, message = azure_cli {}(world_of().ask)
    assert.is_nil(token)
    assert.are.equal("the Azure CLI failed", message)
  end)

  it("reports a missing program", function()
    os.remove(folder .. "/az")
    local token, message = azure_cli { command = folder .. "/az" }(world_of().ask)
    assert.is_nil(token)
    assert.is_truthy(message:find "was not found")
  end)

  it("ends a program that takes too long", function()
    write(folder .. "/ending", "exec sleep 60")
    local began = os.time()
    local token, message, details = azure_cli { timeout = 0.1 }(world_of().ask)
    assert.is_nil(token)
    assert.is_truthy(message:find "did not answer within 1 s")
    assert.is_true(details.is_transient)
    assert.is_true(os.time() - began < 30)
  end)

  it("limits what it reads", function()
    write(folder .. "/ending", "yes hush")
    local token, message = azure_cli {}(world_of().ask)
    assert.is_nil(token)
    assert.is_nil(message:find "hush")
  end)

  it("executes nothing of a hostile tenant, scope or program name", function()
    local made = folder .. "/made"
    for _, text in ipairs(hostile) do
      text = text:gsub("FILE", made)
      local provider = azure_cli {}
      for _, ask in ipairs {
        world_of({ tenant = text }).ask,
        world_of({ scope = text }).ask,
        world_of({ scope = "https://graph.microsoft.com/" .. text .. "'/.default" }).ask,
        world_of({ scope = "https://" .. text .. "/.default" }).ask,
      } do
        local token, message, details = provider(ask)
        assert.is_nil(token)
        assert.is_truthy(message:find "^the tenant must" or message:find "^the scope must", message)
        assert.is_nil(message:find("touch", 1, true))
        assert.is_false(details.is_transient)
      end
      assert.is_false((pcall(azure_cli, { tenant = text })))
      assert.is_false((pcall(azure_cli, { scope = text })))
      local can, by_program = pcall(azure_cli, { command = text })
      assert.is_nil(can and by_program(world_of().ask) or nil)
    end
    assert.is_nil(read(folder .. "/arguments"))
    assert.is_nil(read(made))
  end)

  it("runs a program with any name", function()
    local odd = folder .. "/a'z $(touch made); x"
    write(odd, program)
    os.execute(('chmod 700 "%s"'):format((odd:gsub("%$", "\\$"))))
    assert.are.equal(opaque, (azure_cli { command = odd }(world_of().ask)))
    assert.is_nil(read(folder .. "/made"))
  end)
end)
