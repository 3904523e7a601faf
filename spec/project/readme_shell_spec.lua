-- The lines for a shell in the README and in doc/ are run as they are printed, in a copy of this tree and against
-- the emulated service. `ways` says of each line how; a line without a way fails, and so does a way without its line.
--
-- What a line would do to the machine is kept from it: packages are only looked at by a stub of apt-get,
-- installed files go below DESTDIR or into a tree of LuaRocks in the copy, and the tasks of make that take
-- minutes are shown with `make -n`.

local command_process = require "support.command_process"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local overlay = require "support.overlay"
local pages = require "support.pages"
local shell = require "autopilot.cli.emulate.shell"
local shell_lines = require "support.shell_lines"
local version = require "autopilot.version"

-- They take a quarter of a minute and do not depend on the Lua of the specs: once in a run is enough.
local lua = os.getenv "LUA" or "lua5.4"
local is_first = not os.getenv "KIND" and (os.getenv "LUAS" or lua):match "%S+" == lua

describe("the documentation's shell commands", function()
  if not is_first then
    return
  end
  local root, here, service, remove, work, environment

  setup(function()
    service = emulated_service.start {
      duration = 0,
      cooldown = 0,
      emulator = { identity = { tenant = "machines", client_id = "machine", header = "made-up" } },
    }
    root, remove = files.folder()
    work = root .. "/work"
    os.execute(([[
      mkdir '%s' '%s/stubs' '%s/source' &&
      tar -c Makefile .ci lua src bin rockspec LICENSE *.md doc examples \
        spec/c spec/node build/%s build/c |
        tar -x -C '%s/source'
    ]]):format(work, root, root, lua, root))
    local function write_stub(name, text)
      files.write(root .. "/stubs/" .. name, "#!/bin/sh\n" .. text .. "\n")
      os.execute(("chmod 700 '%s/stubs/%s'"):format(root, name))
    end
    here = shell.read "pwd":match "[^\n]+"
    write_stub(
      "autopilot-sync",
      ('exec %s %s/bin/autopilot-sync "$@"'):format(command_process.interpreter, here)
    )
    write_stub("list-tenants", "printf '%s\\n' a.example b.example")
    write_stub("apt-get", 'printf "%s\\n" "$@"')
    files.write(work .. "/tenants.csv", "tenant\na.example\nb.example\n")
    files.write(work .. "/secret.txt", service.client_secret)
    os.execute(("chmod 600 '%s/secret.txt'"):format(work))
    files.write(
      root .. "/luarocks.lua",
      -- The distribution has the two rocks that it depends on: no server is asked.
      ([[rocks_provided = { ["lua-cjson"] = "2.1.0-1", argparse = "0.7.1-1" }
        rocks_trees = { { name = "user", root = "%s/tree" } }
        variables = { CFLAGS = "-O0 -fPIC" }]]):format(root)
    )
    environment = service:environment {
      AZURE_TENANT_ID = service.tenant,
      AZURE_CLIENT_ID = service.client_id,
      AZURE_CLIENT_SECRET = service.client_secret,
      AZURE_POD_IDENTITY_AUTHORITY_HOST = "http://127.0.0.1:1",
      LUAROCKS_CONFIG = root .. "/luarocks.lua",
      DESTDIR = root .. "/stage",
      MAKEFLAGS = "LUA=" .. lua,
      PATH = root .. "/stubs:" .. (os.getenv "PATH" or "/usr/bin:/bin"),
    }
  end)

  teardown(function()
    if service then
      service.stop()
      remove()
    end
  end)

  --- Runs a line. Gives its exit status and what it printed on both streams.
  local function run(line, folder, more)
    local script = ('cd %s && { %s\n} 2>&1; echo "exit $?"'):format(shell.quote(folder), line)
    local pipe = command_process.start(script, overlay(overlay({}, environment), more))
    local output, code = pipe:read("*a"):match "^(.*)exit (%d+)\n$"
    pipe:close()
    return tonumber(code), output
  end

  --- Runs a line that is to succeed.
  local function succeed(line, folder, more)
    local code, output = run(line, folder, more)
    assert.equal(0, code, line .. "\n" .. output)
    return output
  end

  local function in_source(line, more)
    return succeed(line, root .. "/source", more)
  end

  --- The command that was installed finds its modules, whatever the environment says of Lua.
  local function assert_command_works(path)
    assert.matches(
      version,
      succeed(("unset LUA_PATH LUA_CPATH; '%s' --version"):format(path), root)
    )
  end

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
      assert.matches(expected, in_source(line, { MAKEFLAGS = "n LUA=" .. lua }))
    end
  end

  local function make_rock(line)
    in_source(line)
    assert_command_works(root .. "/tree/bin/autopilot-sync")
    os.execute(("rm -rf '%s/tree'"):format(root))
  end

  local function reset_and_succeed(line)
    service:control("POST", "reset")
    return succeed(line, work)
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

  way("make", in_source)

  for _, options in ipairs { "make", "--lua-version=5.1 make", "make --deps-mode=none" } do
    way("luarocks " .. options, make_rock)
  end

  way("make install PREFIX=/usr/local", function(line)
    in_source(line)
    assert.truthy(files.read(root .. "/stage/usr/local/bin/autopilot-sync"))
    assert_links_work(root .. "/stage/usr/local/share/doc/autopilot-sync/")
    -- Where no Lua looks for modules by itself, the command finds its own.
    local prefix = root .. "/somewhere else"
    in_source((line:gsub("/usr/local", "'" .. prefix .. "'")), { DESTDIR = "" })
    assert_command_works(prefix .. "/bin/autopilot-sync")
  end)

  way('make install PREFIX=/usr/local LUA="lua5.1 lua5.4"', function(line)
    local command = "mv '%s/stage/usr' '%s/before'; %s"
    in_source(command:format(root, root, (line:gsub("lua5.1 lua5.4", lua))))
    assert.truthy(files.read(root .. "/stage/usr/local/bin/autopilot-sync"))
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
      local output = reset_and_succeed((line:gsub(" ID ", " " .. service.client_id .. " ")))
      assert.matches("sync contoso%.example: completed", output)
    end
  )

  way("autopilot-sync sync", function(line)
    assert.matches("sync [^\n]*: started", reset_and_succeed(line))
  end)

  way("autopilot-sync sync --verbose", function(line)
    assert.matches("\n *%d%.%d+ < HTTP/2 204\n", reset_and_succeed(line .. " 2>&1"))
  end)

  way("autopilot-sync sync --dry-run", function(line)
    assert.matches("\nBecause       a sync is possible\n", "\n" .. reset_and_succeed(line))
  end)

  --- Runs a line that starts a service, reads what it prints into the environment as the README does,
  -- and runs `after`.
  local function with_emulate(line, after)
    local folder, remove_folder = files.folder()
    local code, output = run(
      ("(%s\nuntil grep -q AZURE_CLIENT_SECRET environment.sh; do sleep 0.05; done\n"):format(line)
        .. (". ./environment.sh\n%s; code=$?; kill $!; wait; exit $code)"):format(after),
      folder
    )
    remove_folder()
    return code, output
  end

  local function emulate_and_sync()
    local code, output =
      with_emulate("autopilot-sync emulate >environment.sh &", "autopilot-sync sync")
    assert.equal(0, code, output)
    assert.matches("sync [^\n]*: started", output)
  end

  way("autopilot-sync emulate >environment.sh &", emulate_and_sync)

  way("sleep 2", emulate_and_sync)

  way(". ./environment.sh", emulate_and_sync)

  way(
    "autopilot-sync emulate --cooldown 30s --fault throttle,on=sync,retry_after=3 "
      .. ">environment.sh &",
    function(line)
      local code, output = with_emulate(line, "autopilot-sync sync --attempts 1")
      assert.equal(4, code, output)
      assert.matches("throttled", output)
    end
  )

  way(".ci/with-lua lua5.4 lua5.4 spec/support/walks.lua", function(line)
    assert.matches("fleet: %d+ files", succeed((line:gsub("lua5%.4", lua)), here))
  end)

  way("autopilot-sync ensure --since -10m", function(line)
    assert.matches("ensure [^\n]*: completed", reset_and_succeed(line))
  end)

  way("autopilot-sync sync --wait --json", function(line)
    assert.matches('^{[^\n]*"outcome":"completed"[^\n]*}\n$', reset_and_succeed(line))
  end)

  way("autopilot-sync token --inspect --auth managed", function(line, expected)
    local output = succeed(line, work, {
      AZURE_CLIENT_ID = "",
      IDENTITY_ENDPOINT = service.url .. "/msi/token",
      IDENTITY_HEADER = "made-up",
    })
    assert.equal(6, #expected)
    for _, printed in ipairs(expected) do
      assert.truthy(("\n" .. output):find("\n" .. printed:match "^%a+%s+", 1, true), printed)
    end
  end)

  way("autopilot-sync doctor", function(line)
    assert.matches("\nPermission +ok ", reset_and_succeed(line))
  end)

  way("autopilot-sync doctor --bundle support.txt", function(line, expected)
    local output, count = "\n" .. reset_and_succeed(line), 0
    for _, printed in ipairs(expected) do
      local title = printed:match "^%u.-  "
      count = count + (title and 1 or 0)
      assert.truthy(not title or output:find("\n" .. title, 1, true), printed)
    end
    assert.equal(13, count)
    assert.matches("\nversion%.libcurl: ", files.read(work .. "/support.txt"))
  end)

  way(
    "autopilot-sync fleet tenants.csv --client-id … --client-secret-file "
      .. "secret.txt --state state.db",
    function(line)
      local output = reset_and_succeed((line:gsub("…", service.client_id)))
      assert.matches("started +2", output)
      assert.truthy(files.read(work .. "/state.db"))
    end
  )

  way(
    "autopilot-sync fleet tenants.csv --report nightly.html --client-id … "
      .. "--client-secret-file secret.txt",
    function(line)
      reset_and_succeed((line:gsub("…", service.client_id)))
      assert.matches("<td>started</td><td>2</td>", files.read(work .. "/nightly.html"))
    end
  )

  way(
    "list-tenants | autopilot-sync fleet - --operation ensure --since -10m "
      .. "--json >reports.jsonl",
    function(line)
      reset_and_succeed(line)
      local _, reports = files.read(work .. "/reports.jsonl"):gsub('"outcome":"completed"', "")
      assert.equal(2, reports)
    end
  )

  --- Looks at the names of packages.
  local function name_packages(line)
    for name in succeed(line, root):gsub("^install\n", ""):gmatch "[^\n]+" do
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
      local tree = root .. "/openresty"
      in_source((line:gsub("/src", root .. "/source"):gsub("/usr/local/autopilot", tree)))
      assert_command_works(tree .. "/bin/autopilot-sync")
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
    in_source((prepare_line:gsub("/etc", root)))
  end

  way(prepare_line, function()
    prepare_portal()
    assert.matches(
      "autopilot_tenants %d+m;",
      files.read(root .. "/autopilot-portal/dictionaries.conf")
    )
  end)

  way(
    "nginx -e stderr -p /etc/autopilot-portal/ -c /etc/autopilot-portal/nginx.conf",
    function(line)
      -- Whether it starts is in spec/openresty; here, that its files are where the line says.
      prepare_portal()
      for path in line:gmatch "/etc(/%S+)" do
        assert.truthy(files.read(root .. path:gsub("/$", "/listen.conf")))
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
