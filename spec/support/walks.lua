--- The files that an operation uses, for the specs of doc/design.md. Also a program:
--
--     .ci/with-lua lua5.4 lua5.4 spec/support/walks.lua
--
-- prints each walk, with its files in the order in which they are first entered and the number of calls
-- from one file to another. The service is the emulated one, over TLS on loopback.

local walks = {}

-- In the order in which they are printed.
walks.names = { "sync", "ensure", "fleet", "first token", "lost answer", "with a store" }

--- The file of this library that a function on the stack is in, or nil. Top-level code of a module is left
-- out: whether it runs depends on what was loaded before.
local function file_at(level)
  local info = debug.getinfo(level + 1, "S")
  local path = info and info.what ~= "main" and info.source:match "^@.*lua/autopilot/(.+%.lua)$"
  return path or nil, info == nil
end

--- The file that called the function which has just been entered, past functions of C.
local function calling_file()
  local level = 4
  while true do
    local file, is_end = file_at(level)
    if file or is_end then
      return file
    end
    level = level + 1
  end
end

--- Calls `act` and records what it enters, coroutines that it makes included.
---@param act fun()
---@return { files: string[], calls: integer } walk
function walks.record(act)
  local walk, seen = { files = {}, calls = 0 }, {}
  local function on_call()
    local file = file_at(2)
    if not file then
      return
    end
    if not seen[file] then
      seen[file] = true
      table.insert(walk.files, file)
    end
    if calling_file() ~= file then
      walk.calls = walk.calls + 1
    end
  end
  local create = coroutine.create
  coroutine.create = function(work) -- luacheck: ignore 122 (put back below)
    local thread = create(work)
    debug.sethook(thread, on_call, "c")
    return thread
  end
  -- A finalizer would be recorded wherever the collector happens to call it.
  collectgarbage "stop"
  debug.sethook(on_call, "c")
  local done, message = pcall(act)
  debug.sethook()
  collectgarbage "restart"
  coroutine.create = create -- luacheck: ignore 122
  assert(done, message)
  return walk
end

--- Records the named walks, each with none of our modules loaded before, against an emulated service that
-- is started and stopped here.
---@param names string[]
---@return table<string, { files: string[], calls: integer }>
function walks.record_all(names)
  local service = require("support.emulated_service").start { cooldown = 0, duration = 1 }

  local function options(more)
    return require "support.overlay"({
      tenant = service.tenant,
      token = service.token,
      base_url = service.url,
      http = { ca_file = service.ca_file },
    }, more)
  end

  --- A method of a client; what is recorded begins with the call.
  local function call(autopilot, method, more, arguments)
    local client = autopilot.client(options(more))
    local walk = walks.record(function()
      local report, failure = client[method](client, arguments)
      assert(report, tostring(failure))
    end)
    client:close()
    return walk
  end

  local ways = {}

  function ways.sync(autopilot)
    return call(autopilot, "sync")
  end

  function ways.ensure(autopilot)
    return call(autopilot, "ensure", nil, { since = os.time(), timeout = 30 })
  end

  function ways.fleet(autopilot)
    local fleet = autopilot.fleet { tenants = { service.tenant }, client = options() }
    return walks.record(function()
      assert(fleet:run({ on_report = function() end }).ok == 1)
    end)
  end

  ways["first token"] = function(autopilot)
    return call(autopilot, "sync", {
      token = autopilot.token.client_secret {
        client_id = service.client_id,
        client_secret = service.client_secret,
        authority = service.url,
      },
    })
  end

  ways["lost answer"] = function(autopilot)
    service:control("POST", "faults", { kind = "lost_answer", on = "sync" })
    return call(autopilot, "sync")
  end

  ways["with a store"] = function(autopilot)
    return call(autopilot, "sync", { store = autopilot.store.memory {} })
  end

  local found = {}
  local done, message = pcall(function()
    for _, name in ipairs(names) do
      service:control("POST", "reset")
      require("support.unloaded").run(function()
        found[name] = ways[name](require "autopilot")
      end)
    end
  end)
  service.stop()
  assert(done, message)
  return found
end

-- A program when it is not required.
if not ... then
  -- Compiled code of LuaJIT calls no hook.
  local jit = rawget(_G, "jit")
  if jit then
    jit.off()
  end
  local all = walks.record_all(walks.names)
  for _, name in ipairs(walks.names) do
    local files, calls = all[name].files, all[name].calls
    print(("%s: %d files, %d calls from one to another"):format(name, #files, calls))
    for _, file in ipairs(files) do
      print("  " .. file)
    end
  end
end

return walks
