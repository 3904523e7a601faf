--- A copy of this tree in which the documentation's lines for a shell are run, and the emulated service beside it.
--
-- What a line would do to the machine is kept from it: packages are only looked at by a stub of apt-get, and
-- installed files go below DESTDIR or into a tree of LuaRocks in the copy.

local assert = require "luassert"
local command_process = require "support.command_process"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local overlay = require "support.overlay"
local shell = require "autopilot.cli.emulate.shell"
local version = require "autopilot.version"

---@class support.ShellWorld
---@field root string the folder of all that is below
---@field source string the copy of the tree
---@field work string the folder of a user of the command
---@field service table the emulated service
local World = {}
World.__index = World

local function write_stub(self, name, text)
  files.write(self.root .. "/stubs/" .. name, "#!/bin/sh\n" .. text .. "\n")
  os.execute(("chmod 700 '%s/stubs/%s'"):format(self.root, name))
end

local function write_files(self, lua)
  os.execute(([[
    mkdir '%s' '%s/stubs' '%s' &&
    tar -c Makefile .ci lua src bin rockspec LICENSE *.md doc examples \
      spec/c spec/node build/%s build/c |
      tar -x -C '%s'
  ]]):format(self.work, self.root, self.source, lua, self.source))
  local command = 'exec %s %s/bin/autopilot-sync "$@"'
  local here = shell.read "pwd":match "[^\n]+"
  write_stub(self, "autopilot-sync", command:format(command_process.interpreter, here))
  write_stub(self, "list-tenants", "printf '%s\\n' a.example b.example")
  write_stub(self, "apt-get", 'printf "%s\\n" "$@"')
  files.write(self.work .. "/tenants.csv", "tenant\na.example\nb.example\n")
  files.write(self.work .. "/secret.txt", self.service.client_secret)
  os.execute(("chmod 600 '%s/secret.txt'"):format(self.work))
  files.write(
    self.root .. "/luarocks.lua",
    -- The distribution has the two rocks that it depends on: no server is asked.
    ([[rocks_provided = { ["lua-cjson"] = "2.1.0-1", argparse = "0.7.1-1" }
      rocks_trees = { { name = "user", root = "%s/tree" } }
      variables = { CFLAGS = "-O0 -fPIC" }]]):format(self.root)
  )
end

--- Makes the copy, and starts the service.
---@param lua string which Lua is built for and installed for
---@return support.ShellWorld
function World.start(lua)
  local service = emulated_service.start {
    duration = 0,
    cooldown = 0,
    emulator = { identity = { tenant = "machines", client_id = "machine", header = "made-up" } },
  }
  local root, remove = files.folder()
  local self = setmetatable({
    root = root,
    source = root .. "/source",
    work = root .. "/work",
    service = service,
    remove = remove,
  }, World)
  write_files(self, lua)
  self.environment = service:environment {
    AZURE_TENANT_ID = service.tenant,
    AZURE_CLIENT_ID = service.client_id,
    AZURE_CLIENT_SECRET = service.client_secret,
    AZURE_POD_IDENTITY_AUTHORITY_HOST = "http://127.0.0.1:1",
    LUAROCKS_CONFIG = root .. "/luarocks.lua",
    DESTDIR = root .. "/stage",
    MAKEFLAGS = "LUA=" .. lua,
    PATH = root .. "/stubs:" .. (os.getenv "PATH" or "/usr/bin:/bin"),
  }
  return self
end

function World:stop()
  self.service.stop()
  self.remove()
end

--- Runs a line.
---@param line string
---@param folder string
---@param more table<string, string>? further variables of the environment
---@return integer code
---@return string output of both streams
function World:run(line, folder, more)
  local script = ('cd %s && { %s\n} 2>&1; echo "exit $?"'):format(shell.quote(folder), line)
  local pipe = command_process.start(script, overlay(overlay({}, self.environment), more))
  local output, code = pipe:read("*a"):match "^(.*)exit (%d+)\n$"
  pipe:close()
  return tonumber(code), output
end

--- Runs a line that is to succeed.
---@return string output
function World:succeed(line, folder, more)
  local code, output = self:run(line, folder, more)
  assert.equal(0, code, line .. "\n" .. output)
  return output
end

--- Runs a line that is to succeed, in the copy of the tree.
---@return string output
function World:in_source(line, more)
  return self:succeed(line, self.source, more)
end

--- Runs a line that is to succeed, in the folder of a user whose service has seen no sync yet.
---@return string output
function World:in_work(line)
  self.service:control("POST", "reset")
  return self:succeed(line, self.work)
end

--- Runs a line that starts a service, reads what it prints into the environment as the README does,
-- and runs `after`.
---@return integer code
---@return string output
function World:with_emulate(line, after)
  local folder, remove_folder = files.folder()
  local script = [[(%s
    until grep -q AZURE_CLIENT_SECRET environment.sh; do kill -0 $! || exit; sleep 0.05; done
    . ./environment.sh
    %s; code=$?; kill $!; wait; exit $code)]]
  local code, output = self:run(script:format(line, after), folder)
  remove_folder()
  return code, output
end

--- The command that was installed finds its modules, whatever the environment says of Lua.
function World:assert_command_works(path)
  local line = ("unset LUA_PATH LUA_CPATH; '%s' --version"):format(path)
  assert.matches(version, self:succeed(line, self.root))
end

return World
