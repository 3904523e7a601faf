-- `--store`: of simultaneous commands one sends the request, and a later one uses what the first has learnt.

local cjson = require "cjson"
local command = require "support.command"
local command_process = require "support.command_process"
local database_server = require "support.database_server"
local emulated_service = require "support.emulated_service"
local files = require "support.files"

describe("the option --store", function()
  local service, folder, remove_folder, env

  setup(function()
    service = emulated_service.start()
    folder, remove_folder = files.folder()
    env = service:environment { AUTOPILOT_TOKEN = service.token, AZURE_TENANT_ID = service.tenant }
  end)

  teardown(function()
    service.stop()
    remove_folder()
  end)

  before_each(function()
    service:control("POST", "reset")
  end)

  local function posts()
    return service:control("GET", "state").requests.sync
  end

  --- Two commands at once with the store of AUTOPILOT_STORE: one sends a request, and both report its answer.
  local function assert_joined(address)
    env.AUTOPILOT_STORE = address
    service:control("POST", "faults", { kind = "slow_answer", on = "sync", seconds = 0.5 })
    local script = "for n in 1 2; do program sync --json & done; wait"
    local pipe = command_process.start(script, env)
    env.AUTOPILOT_STORE = nil
    local output = pipe:read "*a"
    pipe:close()
    local told = { started = 0, joined = 0 }
    for line in output:gmatch "[^\n]+" do
      local report = cjson.decode(line)
      told[report.outcome] = (told[report.outcome] or 0) + 1
      told.joined = told.joined + (report.joined and 1 or 0)
    end
    assert.same({ started = 2, joined = 1 }, told, output)
    assert.equal(1, posts())
  end

  it("lets two commands at once send one request, and the second report its answer", function()
    assert_joined(folder .. "/one.db")
  end)

  for kind, form in pairs {
    PostgreSQL = "postgresql://tester:%s@127.0.0.1:%d/postgres",
    Redis = "redis://tester:%s@127.0.0.1:%d",
  } do
    it("does so with " .. kind .. ", too", function()
      local obstacle = database_server.obstacle(kind)
      if obstacle then
        return pending(obstacle)
      end
      local server = database_server.start(kind)
      assert_joined(form:format(server.password, server.port))
      server:remove()
    end)
  end

  it("lets a later command respect the cooldown", function()
    env.AUTOPILOT_STORE = folder .. "/two.db"
    assert.equal(0, (command_process.run("sync", env)))
    local code, _, complaint = command_process.run("sync", env)
    env.AUTOPILOT_STORE = nil
    assert.equal(4, code)
    assert.truthy(complaint:find("cooldown", 1, true), complaint)
    assert.equal(1, posts())
  end)

  it("is ignored when it cannot be used, and the reason is printed", function()
    local code, output, complaint = command_process.run("sync --store /", env)
    assert.equal(0, code, complaint)
    assert.truthy(output:find("started", 1, true), output)
    assert.truthy(
      complaint:find("nothing is shared with others: SQLite3 /: it is a folder", 1, true),
      complaint
    )
  end)

  it("refuses a password among the arguments, and an unknown address", function()
    local password = "must not contain a password, which other users of this machine could read: "
      .. "it may be in the variable AUTOPILOT_STORE\n"
    for argument, told in pairs {
      ["redis://me:secret-word@host"] = "option '--store' " .. password,
      ["redis://me:secret/-word@host"] = "option '--store' " .. password,
      ["postgresql://me@host/d?sslmode=require&password=secret-word"] = "option '--store' "
        .. password,
      ["host=here password = secret-word"] = "option '--store' " .. password,
      ["etcd://host"] = "--store must be a file",
      ["redis"] = "--store must be a file, redis[s]://… or postgresql://…: write redis://HOST:6379",
      ["127.0.0.1:6379"] = "--store must be a file, redis[s]://… or postgresql://…: write "
        .. "redis://127.0.0.1:6379",
      ["redis://"] = "--store must be redis[s]://[user",
    } do
      local ran = command.run({ "sync", "--store", argument }, { env = env })
      assert.same({ 2, "" }, { ran.code, ran.out })
      assert.equal("autopilot-sync: " .. told, ran.err:sub(1, #told + 16))
      assert.falsy(ran.err:find("word@", 1, true) or ran.err:find("secret", 1, true), ran.err)
    end
  end)

  it("needs a tenant", function()
    env.AZURE_TENANT_ID = nil
    local ran = command.run({ "sync", "--store", folder .. "/x.db" }, { env = env })
    env.AZURE_TENANT_ID = service.tenant
    assert.equal(2, ran.code)
    assert.truthy(ran.err:find("needs --tenant: ", 1, true), ran.err)
  end)
end)
