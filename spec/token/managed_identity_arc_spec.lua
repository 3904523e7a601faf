local core = require "autopilot.core"
local files = require "support.files"
local managed_identity = require "autopilot.token.managed_identity"
local token_world = require "support.token_world"

local opaque = "opaque-token-0123456789"
local key = "hush-4f6c1d0e9a7b=="
local linux = "/var/opt/azcmagent/tokens/"
local windows = "C:\\ProgramData\\AzureConnectedMachineAgent\\Tokens\\"

local function challenge(realm)
  return { status = 401, headers = { ["WWW-Authenticate"] = "Basic realm=" .. realm } }
end

describe("Azure Arc", function()
  local open, config, file_kind = io.open, package.config, core.file_kind
  local path, remove, opened

  before_each(function()
    path, remove = files.temporary(key)
    opened = {}
    -- The agent's folder is on machines of its own only.
    rawset(io, "open", function(name, mode)
      opened[#opened + 1] = name
      return open(path, mode)
    end)
  end)

  after_each(function()
    rawset(io, "open", open)
    rawset(package, "config", config)
    rawset(core, "file_kind", file_kind)
    remove()
  end)

  local function ask(answers)
    local world = token_world.scripted(answers)
    local endpoint = "http://localhost:40342/metadata/identity/oauth2/token"
    local token, second, third = managed_identity {
      getenv = token_world.getenv {
        IDENTITY_ENDPOINT = endpoint,
        IMDS_ENDPOINT = "http://localhost:40342",
        ProgramData = "C:\\ProgramData",
      },
    }(world.ask)
    return token, second, third, world
  end

  local function write(text)
    local file = assert(open(path, "wb"))
    file:write(text)
    file:close()
  end

  it("gives a token for the key in the file of its challenge", function()
    for _, text in ipairs { key, key .. "\n", key .. "\r\n" } do
      write(text)
      local answers = { challenge(linux .. "a-1.key"), token_world.granted() }
      local token, expires_in, _, world = ask(answers)
      assert.are.equal(opaque, token)
      assert.are.equal(3599, expires_in)
      local url = "http://localhost:40342/metadata/identity/oauth2/token?api-version=2020-06-01"
        .. "&resource=https%3A%2F%2Fgraph.microsoft.com"
      assert.are.equal(url, world.requests[1].url)
      assert.are.equal(url, world.requests[2].url)
      assert.are.same({ Metadata = "true" }, world.requests[1].headers)
      local second = { Metadata = "true", Authorization = "Basic " .. key }
      assert.are.same(second, world.requests[2].headers)
    end
    assert.are.same({ linux .. "a-1.key", linux .. "a-1.key", linux .. "a-1.key" }, opened)
  end)

  it("has its keys elsewhere on Windows", function()
    rawset(package, "config", "\\" .. config:sub(2))
    local token = ask { challenge(windows .. "a.key"), token_world.granted() }
    assert.are.equal(opaque, token)
    assert.are.same({ windows .. "a.key" }, opened)
  end)

  it("is recognized by its agent's program where no variable names it", function()
    local program
    rawset(core, "file_kind", function(name)
      return name == program and "file" or nil
    end)
    local variables = {
      ProgramData = "C:\\ProgramData",
      ProgramFiles = "C:\\Program Files\\",
      IDENTITY_ENDPOINT = "http://localhost:1/of-something-else",
    }
    local function url_of_request()
      local world = token_world.scripted { token_world.granted() }
      assert.are.equal(
        opaque,
        (managed_identity { getenv = token_world.getenv(variables) }(world.ask))
      )
      return world.requests[1].url:match "^[^?]*"
    end
    local arc = "http://localhost:40342/metadata/identity/oauth2/token"
    local virtual_machine = "http://169.254.169.254/metadata/identity/oauth2/token"
    assert.are.equal(virtual_machine, url_of_request())
    program = "/opt/azcmagent/bin/himds"
    assert.are.equal(arc, url_of_request())
    rawset(package, "config", "\\" .. config:sub(2))
    assert.are.equal(virtual_machine, url_of_request())
    program = "C:\\Program Files\\AzureConnectedMachineAgent\\himds.exe"
    assert.are.equal(arc, url_of_request())
    variables.ProgramFiles = nil
    assert.are.equal(virtual_machine, url_of_request())
    variables.MSI_ENDPOINT, variables.MSI_SECRET = "http://localhost:42/msi", "hush"
    program = "/opt/azcmagent/bin/himds"
    rawset(package, "config", config)
    assert.are.equal(variables.MSI_ENDPOINT, url_of_request())
  end)

  --- Fails unless a challenge with this header is not answered, and no file is read.
  local function assert_unread(header)
    local headers = { ["WWW-Authenticate"] = header }
    local token, message, details, world = ask { { status = 401, headers = headers } }
    assert.is_nil(token)
    assert.is_truthy(message:find "does not name a key file in its own folder")
    assert.is_false(details.is_transient)
    assert.are.equal(1, #world.requests)
  end

  it("cannot make the provider read another file", function()
    for _, realm in ipairs {
      "",
      "/etc/shadow",
      "/etc/passwd.key",
      linux,
      linux .. ".key",
      linux .. "a.txt",
      linux .. "a.key.txt",
      linux .. "../a.key",
      linux .. "x/../../a.key",
      linux .. "sub/a.key",
      linux .. "..\\a.key",
      linux .. "a.key\0.txt",
      linux .. "a b.key",
      linux .. ("a"):rep(300) .. ".key",
      "/var/opt/azcmagent/tokens/../tokens/a.key",
      "/VAR/opt/azcmagent/tokens/a.key",
      "/var/opt/azcmagent/tokensa.key",
      "file://" .. linux .. "a.key",
      windows .. "a.key",
    } do
      assert_unread("Basic realm=" .. realm)
      assert_unread('Basic realm="' .. realm .. '"')
    end
    local file_name = linux .. "a.key"
    for _, header in ipairs { "", "Bearer realm=" .. file_name, "Basic", file_name } do
      assert_unread(header)
    end
    assert_unread(nil)
    rawset(package, "config", "\\" .. config:sub(2))
    for _, file in ipairs { "..\\a.key", "b\\a.key", "b/a.key", "a.key:x.key", "C:a.key" } do
      assert_unread("Basic realm=" .. windows .. file)
    end
    assert.are.same({}, opened)
  end)

  it("may name its folder in any case on Windows, and in quotes", function()
    local challenged = challenge('"' .. linux .. 'a.key"')
    challenged.headers["WWW-Authenticate"] = challenged.headers["WWW-Authenticate"]:lower()
    assert.are.equal(opaque, (ask { challenged, token_world.granted() }))
    rawset(package, "config", "\\" .. config:sub(2))
    assert.are.equal(opaque, (ask { challenge(windows:lower() .. "a.key"), token_world.granted() }))
    assert.are.same({ linux .. "a.key", windows .. "a.key" }, opened)
  end)

  it("accepts a key of 4096 bytes at most, and nothing but a key", function()
    write(("k"):rep(4096))
    assert.are.equal(opaque, (ask { challenge(linux .. "a.key"), token_world.granted() }))
    local too_long = ("hush"):rep(1024) .. "h"
    for _, text in ipairs { too_long, "", "\n", "hush hush", "hush\nX: y", "hüsh" } do
      write(text)
      local token, message, _, world = ask { challenge(linux .. "a.key") }
      assert.is_nil(token)
      assert.is_truthy(message:find "at most 4096 bytes")
      token_world.assert_nowhere("hush", message)
      assert.are.equal(1, #world.requests)
    end
  end)

  it("says who may read the key if this user may not", function()
    rawset(io, "open", function()
      return nil, "denied"
    end)
    local token, message = ask { challenge(linux .. "a.key") }
    assert.is_nil(token)
    assert.is_truthy(message:find "group himds")
  end)

  it("is not answered twice, and no message has its key", function()
    local echoed = { status = 400, body = '{"message":"' .. key .. '"}' }
    local lost = { network = { message = key } }
    for _, answer in ipairs { challenge(linux .. "b.key"), echoed, lost } do
      local token, message, details, world = ask { challenge(linux .. "a.key"), answer }
      assert.is_nil(token)
      token_world.assert_nowhere("4f6c1d0e9a7b", { message, details })
      assert.are.equal(2, #world.requests)
    end
  end)
end)
