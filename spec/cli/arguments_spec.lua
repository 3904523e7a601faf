local command = require "support.command"
local commands = require "autopilot.cli.commands"
local files = require "support.files"
local scripted = require "autopilot.transport.scripted"
local version = require "autopilot.version"

local unpack = unpack or table.unpack -- luacheck: compat

local names = {}
for index, entry in ipairs(commands) do
  names[index] = entry.name
end

-- What the command prints for a wrong command line. Fails when something was sent, or printed to standard output.
local function mistake(args, env)
  local transport = scripted {}
  local ran =
    command.run(args, { env = env or { AUTOPILOT_TOKEN = "good" }, transport = transport })
  assert.equal(2, ran.code)
  assert.equal("", ran.out)
  assert.equal(0, #transport.requests)
  return (ran.err:match "^autopilot%-sync: ([^\n]*)\n$")
end

describe("a wrong command line ends in 2 with one sentence:", function()
  local cases = {
    { "", "a command is required: " .. table.concat(names, ", ") },
    { "--json", "a command is required: " .. table.concat(names, ", ") },
    { "snyc", "unknown command 'snyc' (did you mean 'sync'?)" },
    { "statsu --json", "unknown command 'statsu' (did you mean 'status'?)" },
    { "harvest", "unknown command 'harvest'" },
    { "sync twice", "too many arguments" },
    { "sync --tennant x", "unknown option '--tennant' (did you mean '--tenant'?)" },
    { "sync --tok-file x", "unknown option '--tok-file' (did you mean '--token-file'?)" },
    { "sync --jsno", "unknown option '--jsno' (did you mean '--json'?)" },
    { "--versoin", "unknown option '--versoin' (did you mean '--version'?)" },
    { "sync --verson", "unknown option '--verson' (did you mean '--version'?)" },
    { "sync --frobnicate", "unknown option '--frobnicate'" },
    { "sync -x", "unknown option '-x'" },
    {
      "--tenant x sync",
      "option '--tenant' must come after the command, as in: autopilot-sync sync --tenant",
    },
    {
      "--print token",
      "option '--print' must come after the command, as in: autopilot-sync token --print",
    },
    { "--frobnicate sync", "unknown option '--frobnicate'" },
    { "--[a sync", "unknown option '--[a'" },
    { "emulate --tenant x", "unknown option '--tenant'" },
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

  it("with control characters and length taken from what is quoted", function()
    assert.equal("unknown command 'a?b'", mistake { "a\nb" })
    assert.equal("unknown command 'a b'", mistake { "a\194\155b" }) -- a CSI of one character
    assert.is_true(#mistake { ("x"):rep(5000) } < 200)
    assert.is_true(#mistake { "sync", "--timeout", ("x"):rep(5000) } < 200)
  end)
end)

describe("the environment", function()
  it("is named when what it gives is wrong", function()
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

  it("is in no help", function()
    local help = command.run("--help").out .. command.run("sync --help").out
    assert.is_nil(help:find "%-%-secret")
    assert.is_nil(help:find "%-%-client%-secret[^%-]")
    assert.is_nil(help:find "%-%-token[^%-]")
  end)
end)

describe("help and version", function()
  local function shown(args)
    local ran = command.run(args)
    assert.equal(0, ran.code)
    assert.equal("", ran.err)
    return ran.out
  end

  it("go to standard output and end in 0, wherever they are asked for", function()
    assert.equal(shown "--version", shown "sync --json --version")
    assert.equal(shown "--help", shown "-h")
    assert.equal(shown "sync --help", shown "--json sync --tenant contoso -h --timeout")
  end)

  it("tell the version, libcurl, its TLS and the Lua", function()
    local info = require("autopilot.core").info()
    local versions = ("autopilot-sync %s\nlibcurl %s, %s, Lua"):format(
      version,
      info.libcurl,
      info.ssl
    )
    assert.equal(versions, shown("--version"):sub(1, #versions))
  end)

  it("name every command, every exit code and every variable of the environment", function()
    local help = shown "--help"
    for _, name in ipairs(names) do
      assert.is_truthy(help:find("\n   " .. name .. " ", 1, true), name)
    end
    for _, word in ipairs {
      "\n   8  timed_out",
      "AUTOPILOT_TOKEN",
      "AUTOPILOT_BASE_URL",
      "AUTOPILOT_CA_FILE",
      "AZURE_TENANT_ID",
      "AZURE_CLIENT_ID",
      "AZURE_CLIENT_SECRET",
      "AZURE_CLIENT_CERTIFICATE_PATH",
      "AZURE_CLIENT_CERTIFICATE_PASSWORD",
      "AZURE_FEDERATED_TOKEN_FILE",
      "AZURE_AUTHORITY_HOST",
    } do
      assert.is_truthy(help:find(word, 1, true), word)
    end
  end)

  -- Every option that the parser of a command knows, except the refused ones.
  local function options_of(help)
    local list = {}
    for option in help:match("^Usage:(.-)\n\n"):gmatch "%-%-[%w%-]+" do
      list[#list + 1] = option
    end
    return list
  end

  it("explain every option of each command in a sentence, and show an example", function()
    for _, name in ipairs(names) do
      local help = shown(name .. " --help")
      local options = options_of(help)
      assert.is_true(#options >= 4, name)
      for _, option in ipairs(options) do
        local pattern = "\n   " .. option:gsub("%-", "%%-") .. "[^\n]-%s+%u%S* [^\n]+"
        assert.matches(pattern, help, nil, nil, option)
      end
      assert.matches("\nExample:\n   autopilot%-sync " .. name .. " [^\n]+", help)
    end
  end)

  it("show examples that can be run as they stand", function()
    local arguments = require "autopilot.cli.arguments"
    for _, entry in ipairs(commands) do
      local words = {}
      for word in entry.example:gsub("\\\n", " "):gsub(" >.*", ""):gmatch "%S+" do
        words[#words + 1] = word
      end
      assert.equal(entry, (arguments.parse(words)))
    end
  end)

  it("name the options of each command", function()
    local service = "--auth --client-id --client-secret-file --certificate --token-file "
      .. "--refresh-token-file --assertion-variable --service-connection "
      .. "--allow-world-readable --cloud --base-url --ca-file --proxy --cooldown --timeout "
      .. "--attempts --json --quiet --verbose --help "
    for name, own in pairs {
      sync = service .. "--tenant --deadline --wait --dry-run",
      status = service .. "--tenant --deadline",
      wait = service .. "--tenant --deadline --since",
      ensure = service .. "--tenant --deadline --since --max-age --no-wait --dry-run",
      token = service .. "--tenant --inspect --print",
      fleet = service
        .. "--operation --concurrency --spread --deadline --since --max-age --state "
        .. "--resume-within --report --dry-run",
      emulate = "--port --cooldown --duration --http-version --json",
      completion = "--help",
    } do
      local help = shown(name .. " --help")
      for option in own:gmatch "%S+" do
        assert.is_truthy(help:find("\n   " .. option, 1, true), name .. " " .. option)
      end
    end
  end)

  it("group the options of a command", function()
    local positions = {}
    local help = shown "sync --help"
    local titles = { "Options", "The tenant", "Signing in", "The service", "Other options" }
    for _, title in ipairs(titles) do
      positions[#positions + 1] = assert(help:find("\n\n" .. title .. ":\n", 1, true), title)
    end
    local sorted = { unpack(positions) }
    table.sort(sorted)
    assert.same(sorted, positions)
  end)

  it("complete commands, options and their values in each shell", function()
    for _, shell in ipairs { "bash", "zsh", "fish" } do
      local script = shown("completion " .. shell)
      for _, word in ipairs { "ensure", "client%-secret%-file", "us_gov_dod" } do
        assert.matches(word, script, nil, nil, shell)
      end
    end
    assert.equal("argument 'shell' must be one of 'bash', 'zsh', 'fish'", mistake "completion csh")
  end)

  it("complete in a bash that has read the script", function()
    local line = [[
      eval "$1"
      COMP_WORDS=(autopilot-sync sync --cloud us) COMP_CWORD=3
      _autopilot-sync
      echo "${COMPREPLY[@]}"
    ]]
    local run = 'exec bash --norc -c "$1" bash "$2"'
    local completed =
      require("autopilot.cli.emulate.shell").read(run, line, shown "completion bash")
    assert.equal("us_gov us_gov_dod\n", completed)
  end)

  it("fit a terminal", function()
    for index = 0, #names do
      for line in shown((names[index] or "") .. " --help"):gmatch "[^\n]+" do
        assert.is_true(#line <= 90, line)
      end
    end
  end)
end)

describe("options", function()
  local function request_of(args, env)
    env = env or {}
    env.AUTOPILOT_TOKEN = env.AUTOPILOT_TOKEN or "good"
    local transport = scripted { { status = 204 } }
    local ran = command.run(args, { env = env, transport = transport })
    assert.equal(0, ran.code)
    return transport.requests[1], ran
  end

  it("are handed to the client", function()
    local request, ran = request_of {
      "sync",
      "--tenant",
      "contoso",
      "--cloud=us_gov",
      "--timeout",
      "7.5",
      "--attempts",
      "2",
      "--deadline",
      "100",
    }
    assert.equal(
      "https://graph.microsoft.us/beta/deviceManagement/windowsAutopilotSettings/sync",
      request.url
    )
    assert.equal("Bearer good", request.headers.Authorization)
    assert.are.same({ connect = 7.5, total = 7.5 }, request.timeout)
    assert.is_truthy(ran.out:find("sync contoso: started", 1, true))
  end)

  it("take durations with a unit", function()
    for typed, seconds in pairs {
      ["90"] = 90,
      ["90s"] = 90,
      ["1.5m"] = 90,
      ["2h"] = 7200,
      [".5"] = 0.5,
    } do
      assert.equal(seconds, request_of({ "sync", "--timeout", typed }).timeout.total)
    end
    for _, typed in ipairs { "m", "1w", "1hs", "1.2.3", "90S", "1 h", "9999d" } do
      assert.matches("'%-%-timeout' must be a duration", mistake { "sync", "--timeout", typed })
    end
  end)

  it("tell the proxy and the cooldown", function()
    local options
    local made = require "autopilot.client"
    package.loaded["autopilot.client"] = function(given, ...)
      options = given
      return made(given, ...)
    end
    finally(function()
      package.loaded["autopilot.client"] = made
    end)
    request_of "sync --proxy http://proxy.example:3128 --cooldown 30s"
    assert.same({ "http://proxy.example:3128", 30 }, { options.http.proxy, options.cooldown })
    request_of "sync --proxy none --cooldown 0"
    assert.same({ "", 0 }, { options.http.proxy, options.cooldown })
    assert.matches(
      "^%-%-proxy must .* or 'none'",
      mistake { "sync", "--proxy", "ftp://proxy.example" }
    )
    assert.matches("'%-%-proxy' must not .*password", mistake "sync --proxy http://me:hidden@proxy")
  end)

  it("shorten the time for a connection only when they give less than its own", function()
    assert.are.same({ connect = 10, total = 30 }, request_of("sync --timeout 30").timeout)
    assert.are.same({ connect = 10, total = 60 }, request_of("sync").timeout)
  end)

  it("come before the environment, and that before the defaults", function()
    local env = { AUTOPILOT_BASE_URL = "https://localhost:1", AZURE_TENANT_ID = "fabrikam" }
    local request, ran = request_of("sync", env)
    assert.is_truthy(request.url:find("https://localhost:1/", 1, true))
    assert.is_truthy(ran.out:find("sync fabrikam:", 1, true))
    request, ran = request_of("sync --base-url https://localhost:2 --tenant contoso", env)
    assert.is_truthy(request.url:find("https://localhost:2/", 1, true))
    assert.is_truthy(ran.out:find("sync contoso:", 1, true))
    request, ran = request_of("sync", { AUTOPILOT_BASE_URL = "", AZURE_TENANT_ID = "" })
    assert.is_truthy(request.url:find("https://graph.microsoft.com/", 1, true))
    assert.is_truthy(ran.out:find("sync: started", 1, true))
  end)

  it("of which one is given twice: the last counts", function()
    local _, ran = request_of "sync --tenant a --tenant b"
    assert.is_truthy(ran.out:find("sync b:", 1, true))
  end)

  it("of every command may stand before its name", function()
    local _, ran = request_of "--json sync"
    assert.equal("{", ran.out:sub(1, 1))
    _, ran = request_of "--quiet sync"
    assert.equal("", ran.out)
  end)
end)
