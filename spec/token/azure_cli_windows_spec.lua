-- The Azure CLI on Windows: which program is started, and how. `make windows-test` runs a program there, too.

local azure_cli = require "autopilot.token.azure_cli"
local azure_world = require "support.azure_world"
local core = require "autopilot.core"
local files = require "support.files"

local opaque, printed, world_of = azure_world.opaque, azure_world.printed, azure_world.new

describe("autopilot.token.azure_cli on Windows", function()
  local file_kind, popen, getenv, config = core.file_kind, io.popen, os.getenv, package.config
  local lines, present, answer, code

  before_each(function()
    lines, answer, code = {}, printed(), 0
    present = { ["C:\\Program Files (x86)\\CLI2\\wbin\\az.cmd"] = true }
    rawset(package, "config", "\\" .. config:sub(2))
    rawset(core, "file_kind", function(path)
      return present[path] and "file" or nil
    end)
    rawset(os, "getenv", function(name)
      return name == "PATH" and 'C:\\Windows;.;"C:\\Program Files (x86)\\CLI2\\wbin";' or nil
    end)
    rawset(io, "popen", function(line)
      lines[#lines + 1] = line
      return {
        read = function()
          return answer
        end,
        close = function()
          return code == 0, "exit", code
        end,
      }
    end)
  end)

  after_each(function()
    rawset(package, "config", config)
    rawset(core, "file_kind", file_kind)
    rawset(os, "getenv", getenv)
    rawset(io, "popen", popen)
  end)

  it("runs the program of PATH, with the user's values in quotes", function()
    assert.are.equal(opaque, (azure_cli { tenant = "contoso.example" }(world_of().ask)))
    assert.are.same({
      [[""C:\Program Files (x86)\CLI2\wbin\az.cmd" account get-access-token -o json ]]
        .. [[--resource "https://graph.microsoft.com" --tenant "contoso.example" <nul 2>&1"]],
    }, lines)
  end)

  it("runs no program of the current folder, nor the one for Unix shells", function()
    present = { ["az.cmd"] = true, [".\\az.cmd"] = true, ["az"] = true }
    local token, message = azure_cli {}(world_of().ask)
    assert.is_nil(token)
    assert.is_truthy(message:find("there is no program 'az'", 1, true), message)
    assert.are.same({}, lines)
    present = { ["C:\\Windows\\az"] = true, ["C:\\Windows\\az.exe"] = true }
    assert.are.equal(opaque, (azure_cli {}(world_of().ask)))
    assert.are.equal(1, lines[1]:find([[""C:\Windows\az.exe" account]], 1, true))
  end)

  it(
    "runs the program that is named with its folder, but none whose name the shell changes",
    function()
      for _, named in ipairs { [[D:\az\az.cmd]], [[D:\az\az]], [[tools\az]] } do
        present = { [ [[D:\az\az.cmd]] ] = true, [ [[tools\az.cmd]] ] = true }
        assert.are.equal(opaque, (azure_cli { command = named }(world_of().ask)))
        assert.is_truthy(lines[#lines]:find('\\az.cmd" account', 1, true), lines[#lines])
      end
      lines = {}
      for _, hostile in ipairs { [[D:\%TEMP%\az]], [[D:\az" & calc "]], [[D:\!x!\az]] } do
        present = { [hostile] = true, [hostile .. ".cmd"] = true }
        assert.is_nil((azure_cli { command = hostile }(world_of().ask)))
      end
      assert.are.same({}, lines)
    end
  )

  it("says why there is no token, also without an exit code", function()
    for _, given in ipairs { 1, false } do
      code, answer = given or nil, "ERROR: Please run 'az login' to setup account.\n"
      local token, message = azure_cli {}(world_of().ask)
      assert.is_nil(token)
      assert.is_truthy(message:find("nobody is signed in", 1, true), message)
    end
    code, answer = nil, printed()
    assert.are.equal(opaque, (azure_cli {}(world_of().ask)))
  end)

  it("passes the option run the command line for Unix", function()
    local told
    local sign_in = azure_cli {
      run = function(line)
        told = line
        return printed(), 0
      end,
    }
    assert.are.equal(opaque, (sign_in(world_of().ask)))
    assert.is_truthy(told:find("'az' account", 1, true), told)
  end)
end)

-- Only on Windows.
describe("autopilot.token.azure_cli with a program of Windows", function()
  if package.config:sub(1, 1) ~= "\\" then
    return
  end
  local program = os.tmpname() .. "(1) az.cmd"
  local output = program .. ".json"

  teardown(function()
    os.remove(program)
    os.remove(output)
  end)

  it("gets its token with these arguments, and detects a failure", function()
    local told = ('@echo off\r\necho WARNING: %%* 1>&2\r\ntype "%s"\r\n'):format(output)
    files.write(output, printed())
    files.write(program, told)
    local token, message = azure_cli { command = program, tenant = "a.example" }(world_of().ask)
    assert.are.equal(opaque, token, message)
    files.write(program, told .. "exit /b 1\r\n")
    token, message = azure_cli { command = program, tenant = "a.example" }(world_of().ask)
    assert.is_nil(token)
    assert.are.equal("the Azure CLI failed", message)
    files.write(output, "")
    token, message = azure_cli { command = program, tenant = "a.example" }(world_of().ask)
    assert.is_nil(token)
    local line = "WARNING: account get-access-token -o json --resource "
      .. '"https://graph.microsoft.com" --tenant "a.example"'
    assert.is_truthy(message:find(line, 1, true), message)
  end)
end)
