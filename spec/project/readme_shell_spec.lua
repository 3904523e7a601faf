-- The lines for a shell in the README and in doc/ are run as they are printed, in a copy of this tree and against
-- the emulated service (`support.shell_world`). `ways` says of each line how; a line without a way fails, and so does a
-- way without its line. The tasks of make that take minutes are shown with `make -n`.

local files = require "support.files"
local pages = require "support.pages"
local shell_lines = require "support.shell_lines"
local shell_world = require "support.shell_world"

-- They take a quarter of a minute and do not depend on the Lua of the specs: once in a run is enough.
local lua = os.getenv "LUA" or "lua5.4"
local is_first = not os.getenv "KIND" and (os.getenv "LUAS" or lua):match "%S+" == lua

describe("the documentation's shell commands", function()
  if not is_first then
    return
  end
  local world

  setup(function()
    world = shell_world.start(lua)
  end)

  teardown(function()
    world:stop()
  end)

  --- What the pages link to is beside them.
  local function assert_links_work(folder)
    for _, path in ipairs(pages.paths()) do
      for target in files.read(folder .. path):gmatch "%]%(([^)#:]+)[#)]" do
        local linked = folder .. path:gsub("[^/]*$", "") .. target
        assert.truthy(files.read(linked), linked)
      end
    end
  end

  local function shows(expected)
    return function(line)
      assert.matches(expected, world:in_source(line, { MAKEFLAGS = "n LUA=" .. lua }))
    end
  end

  local function make_rock(line)
    world:in_source(line)
    world:assert_command_works(world.root .. "/tree/bin/autopilot-sync")
    os.execute(("rm -rf '%s/tree'"):format(world.root))
  end

  local ways = {}

  local function way(line, act)
    ways[line] = act
  end

  way("make demo", shows "examples/demo%.sh")

  way("make test", shows "%.ci/test")

  way("make test LUA=lua5.4 SPEC=spec/retry", shows "%.ci/test")

  way(
    "CERTAINTY_HISTORIES=100000 make test LUA=lua5.4 SPEC=spec/sync/certainty_property_spec.lua",
    function(line)
      shows "%.ci/test"(line)
      assert.truthy(files.read(line:match "SPEC=(%S+)"))
    end
  )

  for task, script in pairs {
    lint = "%.ci/lint",
    sanitize = "%.ci/sanitize",
    fuzz = "%.ci/fuzz",
    bench = "spec/bench/run%.sh",
    ["bench-fleet"] = "spec/bench/fleet%.sh",
    ["bench-machines"] = "spec/bench/machines%.lua",
  } do
    way("make " .. task, shows(script))
  end

  it("names the Luas there are where another one is asked for", function()
    local pipe = io.popen "make LUA=lua9 2>&1"
    assert.matches("there is no lua9: LUA is one of lua5%.4 ", pipe:read "*a")
    pipe:close()
  end)

  way("make", function(line)
    world:in_source(line)
  end)

  for _, options in ipairs { "make", "--lua-version=5.1 make", "make --deps-mode=none" } do
    way("luarocks " .. options, make_rock)
  end

  way("make install PREFIX=/usr/local", function(line)
    world:in_source(line)
    assert.truthy(files.read(world.root .. "/stage/usr/local/bin/autopilot-sync"))
    assert_links_work(world.root .. "/stage/usr/local/share/doc/autopilot-sync/")
    -- Where no Lua looks for modules by itself, the command finds its own.
    local prefix = world.root .. "/somewhere else"
    world:in_source((line:gsub("/usr/local", "'" .. prefix .. "'")), { DESTDIR = "" })
    world:assert_command_works(prefix .. "/bin/autopilot-sync")
  end)

  way('make install PREFIX=/usr/local LUA="lua5.1 lua5.4"', function(line)
    local command = "mv '%s/stage/usr' '%s/before'; %s"
    world:in_source(command:format(world.root, world.root, (line:gsub("lua5.1 lua5.4", lua))))
    assert.truthy(files.read(world.root .. "/stage/usr/local/bin/autopilot-sync"))
  end)

  way(
    "autopilot-sync sync | status | wait | ensure | fleet FILE | token | "
      .. "doctor | emulate | completion SHELL   [--json] [--quiet] [--verbose] [--help] "
      .. "[--version]",
    function(line)
      local told = line:gsub("^autopilot%-sync", ""):gsub("%[.*", ""):gsub("%u%u+", "")
      local names = {}
      for _, command in ipairs(require "autopilot.cli.commands") do
        names[#names + 1] = command.name
      end
      assert.equal(table.concat(names, " | "), (told:gsub("%s+", " "):match "^ (.-) $"))
    end
  )

  way(
    "autopilot-sync sync --tenant contoso.example --client-id ID "
      .. "--client-secret-file secret.txt --wait",
    function(line)
      local output = world:in_work((line:gsub(" ID ", " " .. world.service.client_id .. " ")))
      assert.matches("sync contoso%.example: completed", output)
    end
  )

  way("autopilot-sync sync", function(line)
    assert.matches("sync [^\n]*: started", world:in_work(line))
  end)

  way("autopilot-sync sync --verbose", function(line)
    assert.matches("\n *%d%.%d+ < HTTP/2 204\n", world:in_work(line .. " 2>&1"))
  end)

  way("autopilot-sync sync --dry-run", function(line)
    assert.matches("\nBecause       a sync is possible\n", "\n" .. world:in_work(line))
  end)

  local emulated -- exit code and output of these lines, which are run together, once

  local function emulate_and_sync()
    emulated = emulated
      or { world:with_emulate("autopilot-sync emulate >environment.sh &", "autopilot-sync sync") }
    assert.equal(0, emulated[1], emulated[2])
    assert.matches("sync [^\n]*: started", emulated[2])
  end

  way("autopilot-sync emulate >environment.sh &", emulate_and_sync)

  way("sleep 2", emulate_and_sync)

  way(". ./environment.sh", emulate_and_sync)

  way(
    "autopilot-sync emulate --cooldown 30s --fault throttle,on=sync,retry_after=3 "
      .. ">environment.sh &",
    function(line)
      local code, output = world:with_emulate(line, "autopilot-sync sync --attempts 1")
      assert.equal(4, code, output)
      assert.matches("throttled", output)
    end
  )

  way(".ci/with-lua lua5.4 lua5.4 spec/support/walks.lua", function(line)
    assert.matches("fleet: %d+ files", world:succeed((line:gsub("lua5%.4", lua)), "."))
  end)

  way("autopilot-sync ensure --since -10m", function(line)
    assert.matches("ensure [^\n]*: completed", world:in_work(line))
  end)

  way("autopilot-sync sync --wait --json", function(line)
    assert.matches('^{[^\n]*"outcome":"completed"[^\n]*}\n$', world:in_work(line))
  end)

  way("autopilot-sync token --inspect --auth managed", function(line, expected)
    local output = world:succeed(line, world.work, {
      AZURE_CLIENT_ID = "",
      IDENTITY_ENDPOINT = world.service.url .. "/msi/token",
      IDENTITY_HEADER = "made-up",
    })
    assert.equal(6, #expected)
    for _, printed in ipairs(expected) do
      assert.truthy(("\n" .. output):find("\n" .. printed:match "^%a+%s+", 1, true), printed)
    end
  end)

  way("autopilot-sync doctor", function(line)
    assert.matches("\nPermission +ok ", world:in_work(line))
  end)

  way("autopilot-sync doctor --bundle support.txt", function(line, expected)
    local output, count = "\n" .. world:in_work(line), 0
    for _, printed in ipairs(expected) do
      local title = printed:match "^%u.-  "
      count = count + (title and 1 or 0)
      assert.truthy(not title or output:find("\n" .. title, 1, true), printed)
    end
    assert.equal(13, count)
    assert.matches("\nversion%.libcurl: ", files.read(world.work .. "/support.txt"))
  end)

  way(
    "autopilot-sync fleet tenants.csv --client-id … --client-secret-file "
      .. "secret.txt --state state.db",
    function(line)
      local output = world:in_work((line:gsub("…", world.service.client_id)))
      assert.matches("started +2", output)
      assert.truthy(files.read(world.work .. "/state.db"))
    end
  )

  way(
    "autopilot-sync fleet tenants.csv --report nightly.html --client-id … "
      .. "--client-secret-file secret.txt",
    function(line)
      world:in_work((line:gsub("…", world.service.client_id)))
      assert.matches("<td>started</td><td>2</td>", files.read(world.work .. "/nightly.html"))
    end
  )

  way(
    "list-tenants | autopilot-sync fleet - --operation ensure --since -10m "
      .. "--json >reports.jsonl",
    function(line)
      world:in_work(line)
      local _, reports =
        files.read(world.work .. "/reports.jsonl"):gsub('"outcome":"completed"', "")
      assert.equal(2, reports)
    end
  )

  --- Looks at the names of packages.
  local function name_packages(line)
    for name in world:succeed(line, world.root):gsub("^install\n", ""):gmatch "[^\n]+" do
      assert.matches(name == "--no-install-recommends" and "." or "^[%l%d][%l%d+.-]+$", name)
    end
  end

  way(
    "apt-get install --no-install-recommends gcc libc6-dev luarocks lua5.1 "
      .. "liblua5.1-0-dev libcurl4-openssl-dev ca-certificates",
    name_packages
  )

  for _, packages in ipairs {
    "gcc libc6-dev make pkg-config libcurl4-openssl-dev liblua5.4-dev lua5.4 lua-cjson "
      .. "lua-argparse",
    "gcc libc6-dev make pkg-config libcurl4-openssl-dev liblua5.1-0-dev liblua5.4-dev",
    "nginx libnginx-mod-http-lua openssl lua5.4 lua-cjson lua-argparse",
  } do
    way("apt-get install " .. packages, name_packages)
  end

  way(
    "cd /src && luarocks --lua-version=5.1 --tree=/usr/local/autopilot " .. "make --deps-mode=none",
    function(line)
      local tree = world.root .. "/openresty"
      world:in_source(
        (line:gsub("/src", world.root .. "/source"):gsub("/usr/local/autopilot", tree))
      )
      world:assert_command_works(tree .. "/bin/autopilot-sync")
      -- The folders that the page names for nginx.
      local count = 0
      for path in files.read("doc/openresty.md"):gmatch "/usr/local/autopilot(/%w+/lua/5%.1)/%?" do
        count = count + 1
        local name = path:find "^/lib" and "/autopilot/core.so" or "/autopilot/init.lua"
        assert.truthy(files.read(tree .. path .. name) or path:find "^/share", path)
      end
      assert.equal(3, count)
    end
  )

  local prepare_line = "examples/openresty/prepare /etc/autopilot-portal"

  local function prepare_portal()
    world:in_source((prepare_line:gsub("/etc", world.root)))
  end

  way(prepare_line, function()
    prepare_portal()
    assert.matches(
      "autopilot_tenants %d+m;",
      files.read(world.root .. "/autopilot-portal/dictionaries.conf")
    )
  end)

  way(
    "nginx -e stderr -p /etc/autopilot-portal/ -c /etc/autopilot-portal/nginx.conf",
    function(line)
      -- Whether it starts is in spec/openresty; here, that its files are where the line says.
      prepare_portal()
      for path in line:gmatch "/etc(/%S+)" do
        assert.truthy(files.read(world.root .. path:gsub("/$", "/listen.conf")))
      end
    end
  )

  it("are found, and each is run in a known way", function()
    local without_way, unused = {}, {}
    for line in pairs(ways) do
      unused[line] = true
    end
    for _, line in ipairs(shell_lines.of_pages()) do
      without_way[#without_way + 1] = not ways[line.text] and line.text or nil
      unused[line.text] = nil
    end
    assert.same({}, without_way)
    assert.same({}, unused)
  end)

  for _, line in ipairs(shell_lines.of_pages()) do
    it("run as printed: " .. line.text, function()
      if ways[line.text] then
        ways[line.text](line.text, line.output)
      end
    end)
  end
end)
