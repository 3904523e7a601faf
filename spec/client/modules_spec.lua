-- Once something has been sent no module is loaded from a file: descriptors may have run out by then, or
-- an upgrade may have replaced the files.

local cjson = require "cjson.safe"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local shell = require "autopilot.cli.emulate.shell"
local source_tree = require "support.source_tree"
local unloaded = require "support.unloaded"
local virtual_world = require "support.virtual_world"

local troubles = {
  { kind = "unsent" },
  { kind = "lost_request" },
  { kind = "lost_answer" },
  { kind = "claims_challenge" },
  { kind = "throttle", retry_after = 3 },
  { kind = "status", status = 400, body = "" },
  { kind = "status", status = 401 },
  { kind = "status", status = 403, body = '{"error":{"message":"{\\"Message\\":\\"No.\\"}"}}' },
  { kind = "status", status = 403, body = "<html><title>Blocked</title></html>" },
  { kind = "status", status = 404, body = '{"error":{"message":"a \\"good\\" b good"}}' },
  { kind = "status", status = 409 },
  { kind = "status", status = 429 },
  { kind = "status", status = 503, body = "<html>" },
  { kind = "status", status = 302 },
  { kind = "status", status = 200, body = "\239\187\191{" },
}

local calls = {
  { "sync" },
  { "sync", { wait = true, deadline = 900 } },
  { "ensure", { wait = true } },
  { "ensure", { max_age = 60, wait = false } },
  { "status" },
  { "wait", { timeout = 900 } },
}

--- A token provider that also fails, and tells of it what providers may tell.
local function provider()
  local asked = 0
  return function(ask)
    asked = asked + 1
    if ask.refresh and asked > 2 then
      return nil, "no other \27 token", { code = "x", hint = "See the provider.", retry_after = 1 }
    end
    return "good"
  end
end

--- What a client is made with, by name.
local clients = {
  ["a ready token"] = function()
    return {}
  end,
  ["a token provider"] = function()
    return { token = provider() }
  end,
  ["a store"] = function()
    return { store = require("autopilot.store").memory {} }
  end,
  ["a trace"] = function()
    return { token = provider(), trace = true, on_event = function() end }
  end,
  ["a policy that waits"] = function()
    return { retry = require("autopilot.retry").patient() }
  end,
}

describe("a client that cannot open files any more", function()
  for kind, options in pairs(clients) do
    it("needs none, for every operation and failure: with " .. kind, function()
      for _, call in ipairs(calls) do
        for _, trouble in ipairs(troubles) do
          local world = virtual_world.new()
          unloaded.run(function(close_files, missed)
            local given = options()
            local _, service = world:emulated { faults = { trouble, trouble, trouble } }
            given.transport = service:transport()
            given.tenant, given.token = "contoso", given.token or "good"
            for name, value in pairs(world:injected()) do
              given[name] = value
            end
            local client = require "autopilot.client"(given)
            close_files()
            local report, failure = client[call[1]](client, call[2])
            local _ = tostring(report or failure)
            client:close()
            assert.are.same({}, missed, call[1] .. " " .. cjson.encode(trouble))
          end)
        end
      end
    end)
  end
end)

-- Loaded at once where the client's options ask for them.
local optional = {
  ["autopilot.share.claim"] = true,
  ["autopilot.store.contract"] = true,
  ["autopilot.transport.http_options"] = true,
  ["autopilot.transport.foreign"] = true,
}

--- The modules of ours that are loaded or were read ahead once a client has been made, and how.
local function modules_of_client()
  local at_hand = {}
  unloaded.run(function()
    require "autopilot.client" { token = "good" }
    for how, modules in pairs { loaded = package.loaded, read = package.preload } do
      for module in pairs(modules) do
        at_hand[module] = module:find "^autopilot%.%a+%.?" and module ~= "autopilot.core" and how
          or nil
      end
    end
  end)
  return at_hand
end

describe("making a client", function()
  it("loads or reads all modules of this list, and reads none that are not needed", function()
    local at_hand, named = modules_of_client(), {}
    for module in pairs(at_hand) do
      local path = "lua/" .. module:gsub("%.", "/")
      local text = files.read(path .. ".lua") or files.read(path .. "/init.lua")
      for _, name in ipairs(source_tree.named_modules(source_tree.bare_lua(text))) do
        named[name] = module
      end
    end
    for name, module in pairs(named) do
      assert.truthy(
        at_hand[name] or optional[name] or name == "autopilot.core",
        module .. " names " .. name
      )
    end
    for module, how in pairs(at_hand) do
      local is_operation = module:find "^autopilot%.sync%.%a+$"
      assert.truthy(named[module] or is_operation or how == "loaded", module .. " is read in vain")
    end
  end)
end)

-- Makes a client, opens files until as many descriptors are left as it is told, and asks for a sync. Prints
-- the result: `unmade` and why, `raised` and what, or `told`, the outcome and whether it was delivered.
local script = [[
local made, client = pcall(function()
  return require("autopilot").client {
    token = arg[1],
    base_url = arg[2],
    http = { ca_file = arg[3] },
    retry = false,
    cooldown_margin = 0,
  }
end)
if not made then
  print("unmade", client)
  os.exit(0)
end
local open = {}
repeat
  local file = io.open "/dev/null"
  open[#open + 1] = file -- kept, or the collector would close it
until not file
for _ = 1, arg[4] do
  local file = table.remove(open)
  if file then
    file:close()
  end
end
local done, report, failure = pcall(client.sync, client)
if done then
  local of = report or failure
  assert(#tostring(of) > 0)
  print("told", of.outcome, of.delivered, of.hint or "")
else
  print("raised", report)
end
]]

--- The reports that are true, by whether the service received the request.
local true_words = {
  [true] = {
    ["started yes"] = true,
    ["interrupted unknown"] = true,
  },
  [false] = {
    ["unreachable no"] = true,
    ["interrupted unknown"] = true,
  },
}

describe("a script with a low limit of open files", function()
  local service, path, remove

  setup(function()
    service = emulated_service.start { duration = 0 }
    path, remove = files.temporary(script)
  end)

  teardown(function()
    service.stop()
    remove()
  end)

  --- Runs the script; what it printed, and whether the service received a request.
  local function run(limit, left, fault)
    service:control("POST", "reset")
    service:control("POST", "faults", { { kind = fault, on = "sync" } })
    local line = ("exec 2>&1; ulimit -n %d; exec %s %s %s %s %s %d"):format(
      limit,
      shell.quote(emulated_service.interpreter()),
      path,
      service.token,
      service.url,
      service.ca_file,
      left
    )
    local pipe = assert(io.popen(line))
    local output = pipe:read "*a"
    pipe:close()
    local has_arrived = false
    for _, event in ipairs(service:control("GET", "log")) do
      has_arrived = has_arrived or event.event == "sync"
    end
    return output, has_arrived
  end

  -- The request meets the descriptors that are left, the making of the client meets the limit.
  it("learns what became of its request, however low the limit is", function()
    local outcomes = {}
    for left = 0, 15 do
      for _, fault in ipairs { "lost_answer", "lost_request" } do
        local output, has_arrived = run(12 + left, left, fault)
        local outcome, delivered = output:match "^told\t(%S+)\t(%S+)"
        if outcome then
          outcomes[outcome] = true
          local is_true = true_words[has_arrived][outcome .. " " .. delivered]
          assert.is_true(is_true, ("%d: %s, %s"):format(left, output, tostring(has_arrived)))
        else
          assert.is_false(has_arrived)
          assert.matches("^unmade\t.*Too many open files", output)
        end
      end
    end
    assert.is_true(outcomes.interrupted and outcomes.unreachable)
  end)
end)
