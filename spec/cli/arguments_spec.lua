-- Wrong command lines: their messages, and the advice in them.

local command = require "support.command"
local commands = require "autopilot.cli.commands"
local files = require "support.files"

local mistake = command.mistake

local names = {}
for index, entry in ipairs(commands) do
  names[index] = entry.name
end

describe("a wrong command line ends in 2 with one sentence:", function()
  local cases = {
    { "", "a command is required: " .. table.concat(names, ", ") },
    { "--json", "a command is required: " .. table.concat(names, ", ") },
    { "snyc", "unknown command 'snyc' (did you mean 'sync'?)" },
    { "statsu --json", "unknown command 'statsu' (did you mean 'status'?)" },
    { "harvest", "unknown command 'harvest': see autopilot-sync --help" },
    { "sync -t x", "unknown option '-t': see autopilot-sync sync --help" },
    { "sync twice", "unexpected argument 'twice': write autopilot-sync sync [OPTIONS]" },
    { "sync --wait 10m", "unexpected argument '10m': write autopilot-sync sync [OPTIONS]" },
    { "eyJ0eXAiOiJKV1QifQ", "unknown command '[redacted]': see autopilot-sync --help" },
    {
      "token --inspect eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJ4In0.c2ln",
      "unexpected argument '[redacted]': write autopilot-sync token [OPTIONS]",
    },
    {
      "token " .. ("aB3~x"):rep(8),
      "unexpected argument 'aB3~xaB3…': write autopilot-sync token [OPTIONS]",
    },
    {
      "sync --token-file eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJ4In0.c2ln",
      "--token-file cannot be read: [redacted]: No such file or directory",
    },
    { ("aB3~x"):rep(8), "unknown command 'aB3~xaB3…': see autopilot-sync --help" },
    {
      "fleet a.csv b.csv",
      "unexpected argument 'b.csv': write autopilot-sync fleet tenants.csv [OPTIONS]",
    },
    { "fleet", "missing argument 'file': write autopilot-sync fleet tenants.csv [OPTIONS]" },
    {
      "fleet --tenant x",
      "option '--tenant' goes with sync, status, wait, ensure, token, doctor, not with fleet: "
        .. "write autopilot-sync fleet tenants.csv [OPTIONS]",
    },
    { "sync --tennant x", "unknown option '--tennant' (did you mean '--tenant'?)" },
    { "sync --tok-file x", "unknown option '--tok-file' (did you mean '--token-file'?)" },
    { "sync --jsno", "unknown option '--jsno' (did you mean '--json'?)" },
    { "--versoin", "unknown option '--versoin' (did you mean '--version'?)" },
    { "sync --verson", "unknown option '--verson' (did you mean '--version'?)" },
    { "sync --frobnicate", "unknown option '--frobnicate': see autopilot-sync sync --help" },
    { "sync -x", "unknown option '-x': see autopilot-sync sync --help" },
    {
      "--tenant x sync",
      "option '--tenant' must come after the command, as in: autopilot-sync sync --tenant",
    },
    {
      "--print token",
      "option '--print' must come after the command, as in: autopilot-sync token --print",
    },
    { "--frobnicate sync", "unknown option '--frobnicate': see autopilot-sync --help" },
    { "--[a sync", "unknown option '--[a': see autopilot-sync --help" },
    {
      "emulate --tenant x",
      "option '--tenant' goes with sync, status, wait, ensure, token, doctor, not with emulate: "
        .. "write autopilot-sync emulate [OPTIONS]",
    },
    { "sync --tenant", "option '--tenant' requires an argument" },
    { "sync --tenant --json", "option '--tenant' requires an argument" },
    { "sync --tenant=", "option '--tenant' must not be empty" },
    { "sync --token-file=", "option '--token-file' must not be empty" },
    { "sync --json=yes", "option '--json' does not take arguments" },
    {
      "sync --timeout soon",
      "option '--timeout' must be a duration above 0, such as 90s or 10m (got 'soon')",
    },
    {
      "sync --timeout 0",
      "option '--timeout' must be a duration above 0, such as 90s or 10m (got '0')",
    },
    {
      "sync --timeout -5",
      "option '--timeout' must be a duration above 0, such as 90s or 10m (got '-5')",
    },
    {
      "sync --timeout 0x10",
      "option '--timeout' must be a duration above 0, such as 90s or 10m (got '0x10')",
    },
    {
      "sync --timeout 1e3",
      "option '--timeout' must be a duration above 0, such as 90s or 10m (got '1e3')",
    },
    {
      "sync --deadline inf",
      "option '--deadline' must be a duration above 0, such as 90s or 10m (got 'inf')",
    },
    {
      "sync --deadline nan",
      "option '--deadline' must be a duration above 0, such as 90s or 10m (got 'nan')",
    },
    {
      "sync --deadline .",
      "option '--deadline' must be a duration above 0, such as 90s or 10m (got '.')",
    },
    {
      "sync --deadline 99999999999",
      "option '--deadline' must be a duration above 0, such as 90s or 10m (got '99999999999')",
    },
    {
      "sync --attempts 0",
      "option '--attempts' must be a whole number from 1 to 999999 (got '0')",
    },
    {
      "sync --attempts 1.5",
      "option '--attempts' must be a whole number from 1 to 999999 (got '1.5')",
    },
    {
      "sync --attempts 1000000",
      "option '--attempts' must be a whole number from 1 to 999999 (got '1000000')",
    },
    {
      "emulate --port 65536",
      "option '--port' must be a whole number from 1 to 65535 (got '65536')",
    },
    {
      "emulate --cooldown -1",
      "option '--cooldown' must be a duration, 0 or more, such as 90s or 10m (got '-1')",
    },
    {
      "emulate --cooldown -.5h",
      "option '--cooldown' must be a duration, 0 or more, such as 90s or 10m (got '-.5h')",
    },
    {
      "sync --cloud us_gvo",
      "option '--cloud' must be one of global, us_gov, us_gov_dod, china (got 'us_gvo'):"
        .. " did you mean 'us_gov'?",
    },
    { "sync --tenant a/b", "--tenant must be a tenant id or a domain (got 'a/b')" },
    {
      "sync --base-url http://graph.example",
      "--base-url must be https: a token may go over http to a loopback host only",
    },
  }
  for _, case in ipairs(cases) do
    it(case[2], function()
      assert.equal(case[2], mistake(case[1]))
    end)
  end

  it("removes control characters from quoted arguments and shortens them", function()
    assert.matches("^unknown command 'a%?b'", mistake { "a\nb" })
    assert.matches("^unknown command 'a b'", mistake { "a\194\155b" }) -- a CSI of one character
    assert.is_true(#mistake { ("x"):rep(5000) } < 200)
    assert.is_true(#mistake { "sync", ("x"):rep(5000) } < 200)
    assert.is_true(#mistake { "sync", "--timeout", ("x"):rep(5000) } < 200)
  end)
end)

describe("the environment", function()
  it("is named when its value is wrong", function()
    local function mistake_of(name, value)
      return mistake("sync", { AUTOPILOT_TOKEN = "good", [name] = value })
    end
    assert.equal(
      "AUTOPILOT_BASE_URL must be like 'https://host' or 'https://host:port', and nothing more",
      mistake_of("AUTOPILOT_BASE_URL", "https://user:hidden@host")
    )
    assert.equal(
      "AZURE_TENANT_ID must be a tenant id or a domain (got 'two words')",
      mistake_of("AZURE_TENANT_ID", "two words")
    )
    assert.equal(
      "AUTOPILOT_CA_FILE cannot be read: /no/such/file: No such file or directory",
      mistake_of("AUTOPILOT_CA_FILE", "/no/such/file")
    )
  end)
end)

describe("a file of authorities that cannot be used", function()
  it("ends in 2, also when it is a folder or empty", function()
    local path, remove = files.temporary ""
    assert.equal(
      "--ca-file cannot be read: /no/such/file: No such file or directory",
      mistake "sync --ca-file /no/such/file"
    )
    assert.equal("--ca-file cannot be read: /: it is a folder", mistake "status --ca-file /")
    assert.equal(
      ("--ca-file cannot be read: %s: it is empty"):format(path),
      mistake("sync --ca-file " .. path)
    )
    remove()
  end)
end)

describe("a secret as an argument", function()
  local sentence = "option '%s' does not exist, because other users of the machine can read "
    .. "arguments: %s"
  for names_of_options, instead in pairs {
    ["--token --access-token"] = "give the token in AUTOPILOT_TOKEN, "
      .. "or in a file with --token-file",
    ["--assertion --client-assertion"] = "give the assertion in a variable that "
      .. "--assertion-variable names",
    ["--refresh-token"] = "give the refresh token in a file with --refresh-token-file",
    ["--client-secret --secret --password"] = "give the secret in AZURE_CLIENT_SECRET, "
      .. "or in a file with --client-secret-file",
    ["--passphrase"] = "give the passphrase in AZURE_CLIENT_CERTIFICATE_PASSWORD",
  } do
    for name in names_of_options:gmatch "%S+" do
      it(("is refused: %s says why, and what to do instead"):format(name), function()
        for _, args in ipairs {
          ("sync %s hidden"):format(name),
          ("sync %s=hidden"):format(name),
          ("%s hidden sync"):format(name),
          ("status --json %s"):format(name),
        } do
          assert.equal(sentence:format(name, instead), mistake(args))
        end
      end)
    end
  end

  it("is in no help text", function()
    local help = command.run("--help").out .. command.run("sync --help").out
    assert.is_nil(help:find "%-%-secret")
    assert.is_nil(help:find "%-%-client%-secret[^%-]")
    assert.is_nil(help:find "%-%-token[^%-]")
  end)
end)
