-- The file of `--refresh-token-file` when a newer refresh token cannot be written to it.

local command = require "support.command"
local emulator = require "autopilot.emulator"
local files = require "support.files"

describe("a new refresh token that cannot be saved", function()
  local real_open = io.open
  after_each(function()
    rawset(io, "open", real_open)
  end)

  --- A file of which one method fails, as on a full disk.
  local function failing(file, method)
    local broken = {}
    for _, name in ipairs { "write", "close" } do
      broken[name] = function(_, ...)
        local done, message = file[name](file, ...)
        if name == method then
          return nil, "No space left on device"
        end
        return done, message
      end
    end
    return broken
  end

  for _, method in ipairs { "write", "close" } do
    it("leaves no incomplete file, and keeps the old one: " .. method, function()
      local service = emulator.new { clients = { partner = { public = true } } }
      local token = service:issue_refresh_token { client_id = "partner" }
      local path, remove = files.temporary(token)
      os.execute(("chmod 600 '%s'"):format(path))
      rawset(io, "open", function(name, mode)
        local file, message = real_open(name, mode)
        return name == path .. ".new" and failing(file, method) or file, message
      end)
      local ran = command.run(
        "sync --tenant contoso --client-id partner --refresh-token-file " .. path,
        { env = {}, transport = service:transport() }
      )
      rawset(io, "open", real_open)
      assert.equal(0, ran.code, ran.err)
      assert.is_truthy(ran.err:find("could not be kept: .*No space left"), ran.err)
      assert.is_nil(real_open(path .. ".new"))
      assert.equal(token, files.read(path))
      remove()
    end)
  end
end)
