-- The options of `autopilot-sync emulate`, and what it passes on to the service.

local command = require "support.command"

describe("emulate", function()
  local function emulate(args, ended, message)
    local options
    local service = {
      run = function(given, print_line)
        options = given
        if ended then
          print_line "export AUTOPILOT_BASE_URL='https://localhost:1'"
        end
        return ended, message
      end,
    }
    local ran = command.run(args, { emulate = service })
    options.command, options.emulate, options.completion_script = nil, nil, nil -- of argparse
    return ran, options
  end

  it("passes its options on, prints what the service says, and ends in 0", function()
    local ran, options =
      emulate("emulate --port 20000 --cooldown 0 --duration 1.5 --http-version 1.1 --json", true)
    assert.are.same({
      port = 20000,
      cooldown = 0,
      duration = 1.5,
      http_version = "1.1",
      json = true,
      certificate = {},
      federated = {},
      fault = {},
    }, options)
    assert.are.same(
      { code = 0, out = "export AUTOPILOT_BASE_URL='https://localhost:1'\n", err = "" },
      ran
    )
    local _, defaults = emulate("emulate", true)
    assert.are.same({ certificate = {}, federated = {}, fault = {} }, defaults)
  end)

  it("tells the service when a line is lost", function()
    local full = command.sink { message = "No space", number = 28 }
    for _, stdout in ipairs { command.sink(), full } do
      local is_lost
      local service = {
        run = function(_, print_line)
          is_lost = print_line "export AUTOPILOT_BASE_URL='https://localhost:1'"
          return true
        end,
      }
      local ran = command.run("emulate", { emulate = service, stdout = stdout })
      assert.equal(ran.code == 1, is_lost)
    end
  end)

  it("passes on the ways to sign in, and the faults", function()
    local _, options = emulate({
      "emulate",
      "--certificate=a.pem",
      "--certificate=b.pem",
      "--federated",
      "https://issuer.test",
      "a subject",
      "--public",
      "--identity=imds",
      "--fault=throttle,on=sync,retry_after=3",
      "--fault=status,status=503,body=5,after=true",
      '--fault=status,status=400,body={"error":{"code":"a","message":"b, c"}},on=sync',
    }, true)
    assert.are.same({
      certificate = { "a.pem", "b.pem" },
      federated = { { "https://issuer.test", "a subject" } },
      public = true,
      identity = "imds",
      fault = {
        { kind = "throttle", on = "sync", retry_after = 3 },
        { kind = "status", status = 503, body = "5", after = true },
        {
          kind = "status",
          status = 400,
          body = '{"error":{"code":"a","message":"b, c"}}',
          on = "sync",
        },
      },
    }, options)
  end)

  it("lists every kind of fault in its help", function()
    local help = command.run("emulate --help").out:gsub("%s+", " ")
    local kinds = assert(help:match "Kinds: ([%l_, ]+)%.")
    for kind in pairs(require("autopilot.emulator.faults").kinds) do
      assert.is_truthy((" " .. kinds .. ","):find(" " .. kind .. ",", 1, true), kind)
    end
  end)

  it("says what is wrong with a fault", function()
    for given, told in pairs {
      ["trottle"] = "'--fault' must be one of unsent, [%l_, ]+ %(got 'trottle'%): "
        .. "did you mean 'throttle'%?",
      ["throttle,on"] = "'--fault': 'on' must be NAME=VALUE",
      ["throttle,on=nothing"] = "'--fault': option 'on' must be one of 'sync', ",
      ["status,status=503,headers=x"] = "'--fault': option 'headers' must be a table",
      ["throttle,retryafter=3"] = "'--fault': unknown option 'retryafter' "
        .. "%(did you mean 'retry_after'%?%)",
    } do
      local ran = command.run({ "emulate", "--fault", given }, { emulate = {} })
      assert.equal(2, ran.code)
      assert.matches(told, ran.err)
    end
  end)

  it("ends in 1 with one sentence when a program is missing", function()
    local ran = emulate("emulate", nil, "nginx was not found: install the Debian package nginx")
    assert.equal(1, ran.code)
    assert.equal("", ran.out)
    assert.equal("autopilot-sync: nginx was not found: install the Debian package nginx\n", ran.err)
  end)
end)
