-- What `--help`, `--version` and `completion` print.

local command = require "support.command"
local commands = require "autopilot.cli.commands"
local version = require "autopilot.version"

local unpack = unpack or table.unpack -- luacheck: compat

local names = {}
for index, entry in ipairs(commands) do
  names[index] = entry.name
end

describe("help and version", function()
  local function shown(args)
    local ran = command.run(args)
    assert.equal(0, ran.code)
    assert.equal("", ran.err)
    return ran.out
  end

  it("go to standard output and end in 0, in any position", function()
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

  it("show an example before any command is chosen", function()
    assert.matches("\n\nExample:\n   autopilot%-sync sync [^\n]+\n", shown "--help")
  end)

  it("show examples that run", function()
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
    assert.equal(
      "argument 'shell' must be one of 'bash', 'zsh', 'fish'",
      command.mistake "completion csh"
    )
  end)

  it("complete in a bash that has loaded the script", function()
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

  it("fit the width of a terminal", function()
    for index = 0, #names do
      for line in shown((names[index] or "") .. " --help"):gmatch "[^\n]+" do
        assert.is_true(#line <= 90, line)
      end
    end
  end)
end)
