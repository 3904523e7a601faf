local emulate = require "autopilot.cli.emulate"
local emulated_service = require "support.emulated_service"
local nginx = require "autopilot.cli.emulate.nginx"
local shell = require "autopilot.cli.emulate.shell"

describe("the emulated service's shell", function()
  local interpreter = emulated_service.interpreter()

  it("runs without this process's preloaded libraries, and so does the service", function()
    local program = [[
      local service = assert(require("autopilot.cli.emulate").start())
      local shell = require "autopilot.cli.emulate.shell"
      local look = 'echo "[$LD_PRELOAD]"; cat "$1/supervisor.log" && echo read'
      io.write(shell.read(look, service.folder))
      service.stop()
    ]]
    local run = 'LD_PRELOAD=/nothing.so LUA_CPATH="$3" exec "$1" -e "$2" 2>/dev/null'
    local output = shell.read(run, interpreter, program, emulated_service.plain_cpath())
    assert.matches("^%[%]\n.*read\n$", output)
    assert.is_nil(output:find("nothing.so", 1, true)) -- of which the loader would complain
  end)

  it("passes arguments unchanged", function()
    local odd = 'a\'b "c" $d `e` \\ *\n;f'
    assert.equal(odd .. "|-n|", shell.read([[printf '%s|' "$@"]], odd, "-n"))
  end)
end)

describe("the emulated service that cannot start", function()
  local folder

  before_each(function()
    folder = shell.read "mktemp -d":match "^[^\n]+"
  end)

  after_each(function()
    shell.read('rm -rf "$1"', folder)
  end)

  --- A folder of commands with these names alone: the real ones, but for those with a text of their own.
  local function commands(names, texts)
    for _, name in ipairs(names) do
      shell.read('ln -s "$(command -v "$1")" "$2/$1"', name, folder)
    end
    for name, text in pairs(texts or {}) do
      local file = assert(io.open(folder .. "/" .. name, "w"))
      file:write("#!/bin/sh\n", text, "\n")
      file:close()
      shell.read('chmod +x "$1"', folder .. "/" .. name)
    end
    return folder
  end

  local everyday = { "sed", "sh" }

  it("says that it does not run on Windows", function()
    local config = package.config
    rawset(package, "config", "\\" .. config:sub(2))
    local service, message = emulate.start()
    rawset(package, "config", config)
    assert.is_nil(service)
    assert.are.equal("the emulated service runs on Unix only, not on Windows", message)
  end)

  it("names the Debian package of a missing program", function()
    local _, message = emulate.start { search_path = commands(everyday) }
    assert.equal("nginx was not found: install the Debian package nginx", message)

    local build = "echo 'configure arguments: --modules-path=/none --with-http_ssl_module' >&2"
    _, message = emulate.start { search_path = commands({ "openssl" }, { nginx = build }) }
    local package = "libnginx-mod-http-lua"
    assert.equal("nginx has no Lua module: install the Debian package " .. package, message)
  end)

  it("names the Debian package of a missing openssl command", function()
    local build = "echo 'configure arguments: --add-module=../ngx_lua-0.10.26' >&2"
    local _, message = emulate.start {
      search_path = commands(everyday, { nginx = build }),
      certificate = { "certificate.pem" },
    }
    assert.equal("the openssl command was not found: install the Debian package openssl", message)
  end)

  it("names a folder that cannot be used", function()
    local _, message = emulate.start { directory = folder .. "/none" }
    assert.equal(
      ("the folder %s/none does not exist or cannot be written to"):format(folder),
      message
    )
  end)

  it("says that a port is in use, and leaves nothing behind", function()
    local server = assert(require("socket").bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    local service, message = emulate.start { port = tonumber(port), directory = folder }
    server:close()
    assert.is_nil(service)
    assert.equal("no port is free: tried " .. port, message)
    assert.equal("", shell.read('ls -A "$1"', folder))
    assert.equal("", emulated_service.processes_with(folder))
  end)

  it("gives nginx's error in one line", function()
    local complaints = {
      ["nginx did not start: out of order"] = "nginx: [emerg] out of order",
      ["nginx did not start: no such file"] = "2026/01/01 00:00:00 [emerg] 77#77: no such file",
      ["nginx's Lua has no cjson: install the Debian package lua-cjson"] = "2026/01/01 00:00:00 "
        .. "[error] 77#77: init_by_lua_file error: x.lua:1: module 'cjson.safe' not found:",
      ["nginx's Lua has no resty.core: install the Debian package lua-resty-core"] = "nginx: "
        .. "[alert] failed to load the 'resty.core' module",
    }
    commands { "sed", "sh", "openssl" }
    for expected, complaint in pairs(complaints) do
      commands({}, {
        nginx = ([[case $1 in
          -V) echo 'configure arguments: --add-module=../ngx_lua-0.10.26' >&2 ;;
          *) printf '%%s\n' 'nginx: [warn] never mind' "%s" >&2; exit 1 ;;
        esac]]):format(complaint),
      })
      local _, message = emulate.start { search_path = folder }
      assert.equal(expected, message)
    end
  end)

  it("configures HTTP/2 for every version of nginx", function()
    local lua_module = "'configure arguments: --add-module=../ngx_lua-0.10.26'"
    commands { "sed", "sh", "openssl" }
    for version, directive in pairs {
      ["nginx/1.22.1"] = false,
      ["nginx/1.25.0"] = false,
      ["nginx/1.25.1"] = true,
      ["openresty/1.27.1.2"] = true,
      ["nginx/2.0.0"] = true,
    } do
      local build = ("printf '%%s\\n' 'nginx version: %s' %s >&2"):format(version, lua_module)
      local found = nginx.find(folder, commands({}, { nginx = build }))
      local configuration = nginx.configuration(found, folder, 20000, true)
      assert.equal(directive, configuration:find("\n    http2 on;", 1, true) ~= nil)
      local words = directive and "ssl" or "ssl http2"
      assert.matches("\n    listen 127%.0%.0%.1:20000 " .. words .. ";\n", configuration)
      configuration = nginx.configuration(found, folder, 20000, false)
      assert.is_nil(configuration:find("http2", 1, true))
      assert.matches("\n    listen 127%.0%.0%.1:20000 ssl;\n", configuration)
    end
  end)

  it("keeps every file that nginx writes in the private folder", function()
    local configuration =
      nginx.configuration({ modules = {}, build = "", lua_folder = "" }, folder, 20000, true)
    for _, name in ipairs { "client_body", "proxy", "fastcgi", "uwsgi", "scgi" } do
      local line = ("\n  %s_temp_path %s_temp;\n"):format(name, name)
      assert.is_truthy(configuration:find(line, 1, true))
    end
    assert.is_truthy(configuration:find("\npid nginx.pid;\nerror_log error.log ", 1, true))
    assert.is_truthy(configuration:find("access_log off;", 1, true))
  end)

  it("omits directives that this nginx was built without", function()
    commands({ "sed", "sh", "openssl" }, {
      nginx = [[echo 'arguments: --add-module=../ngx_lua --without-http_scgi_module' >&2]],
    })
    local configuration = nginx.configuration(nginx.find(folder, folder), folder, 20000, true)
    assert.is_nil(configuration:find("scgi_temp", 1, true))
    assert.is_truthy(configuration:find("uwsgi_temp", 1, true))
    assert.is_nil(configuration:find("load_module", 1, true))
  end)
end)
