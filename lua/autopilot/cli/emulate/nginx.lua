--- nginx for the emulated service: finds it and the other tools, makes its configuration, and interprets its log.

local core = require "autopilot.core"
local shell = require "autopilot.cli.emulate.shell"

local nginx = {}

---@class autopilot.cli.EmulateTools
---@field nginx string path
---@field modules string[] paths of modules to load, in order; none when Lua is built in
---@field build string what `nginx -V` says: the version and the options of configure
---@field http2_directive boolean HTTP/2 is a directive of its own, no longer a word of `listen` (nginx 1.25.1)
---@field openssl string path
---@field directory string the folder in which the private one is to be made
---@field ipv6 string? set where this machine has the address `::1`
---@field lua_folder string of the Lua modules

-- Debian installs nginx in a folder that is not in the PATH of an ordinary user; OpenResty uses its own folders.
local further_folders =
  "/usr/sbin:/usr/local/sbin:/usr/local/openresty/nginx/sbin:/usr/local/openresty/bin"

-- The output of `nginx -V` is not quoted, so that it becomes one line.
local find_tools = [[
PATH=$1
exec 2>/dev/null # an interrupt closes the pipe that this writes to
for name in nginx openresty; do
  nginx=$(command -v "$name") && echo "nginx=$nginx" && echo build=$("$nginx" -V 2>&1 </dev/null)
done
openssl=$(command -v openssl) && echo "openssl=$openssl"
grep -q '^0\{31\}1 ' /proc/net/if_inet6 && echo ipv6=yes
[ -d "$2" ] && [ -w "$2" ] && echo "directory=$(cd "$2" && pwd)"
cd "$3" && echo "lua_folder=$(pwd)"
]]

--- Returns the folder of `package.path` in which `require` found this module; nil if it was not loaded from a file.
local function folder_of_modules()
  local source = debug.getinfo(1, "S").source
  local folder = source:match "^@(.*)autopilot/cli/emulate/nginx%.lua$"
  return folder == "" and "." or folder
end

--- Returns the paths of the modules that add Lua to this nginx, none if Lua is built in; nil if it has no Lua.
local function lua_modules(build)
  if build:find "%-%-add%-module=%S*lua" then
    return {}
  end
  local named = build:match "%-%-modules%-path=(%S+)"
  local usual = { "/usr/lib/nginx/modules", "/usr/lib64/nginx/modules" }
  for _, folder in ipairs(named and { named } or usual) do
    local kit, lua = folder .. "/ndk_http_module.so", folder .. "/ngx_http_lua_module.so"
    if core.file_kind(lua, true) == "file" then
      return core.file_kind(kit, true) and { kit, lua } or { lua }
    end
  end
end

--- Whether this version of nginx has the directive `http2`.
local function has_http2_directive(build)
  local major, minor, patch = build:match "^nginx version: %l+/(%d+)%.(%d+)%.(%d+)"
  return major ~= nil and major * 1e6 + minor * 1e3 + patch >= 1025001
end

--- Finds nginx and the other tools. Returns nil and a sentence if one is missing, with the Debian package to install.
---@param directory string the folder in which the private one is to be made
---@param search_path string? where to look instead of in PATH
---@return autopilot.cli.EmulateTools?
---@return string? message
function nginx.find(directory, search_path)
  if package.config:sub(1, 1) == "\\" then
    return nil, "the emulated service runs on Unix only, not on Windows"
  end
  local folder = folder_of_modules()
  if not folder then
    return nil, "the emulated service needs autopilot's Lua modules as files"
  end
  local path = search_path or (os.getenv "PATH" or "") .. ":" .. further_folders
  local output, found = shell.read(find_tools, path, directory, folder), {}
  for name, value in output:gmatch "([%w_]+)=([^\n]*)\n" do
    found[name] = value
  end
  for command, build in output:gmatch "nginx=([^\n]*)\nbuild=([^\n]*)\n" do
    if not found.modules then
      found.nginx, found.build, found.modules = command, build, lua_modules(build)
    end
  end
  if not found.nginx then
    return nil, "nginx was not found: install the Debian package nginx"
  elseif not found.modules then
    return nil, "nginx has no Lua module: install the Debian package libnginx-mod-http-lua"
  elseif not found.openssl then
    return nil, "the openssl command was not found: install the Debian package openssl"
  elseif not found.directory then
    return nil, ("the folder %s does not exist or cannot be written to"):format(directory)
  end
  found.http2_directive = has_http2_directive(found.build)
  return found
end

-- nginx runs as one process, so that no master process can be killed separately.
local configuration = [[
daemon off;
master_process off;
pid nginx.pid;
error_log error.log warn;
%s
events {
  include connections.conf;
}
http {
  access_log off;
  server_tokens off;
  client_max_body_size 1m;
  client_body_buffer_size 1m; # every request stays in memory
  large_client_header_buffers 8 128k;
  keepalive_requests 1000000;
%s
  init_by_lua_block {
    package.path = %q .. package.path
    require("autopilot.cli.emulate.service").start()
  }
  init_worker_by_lua_block { require("autopilot.cli.emulate.service").watch(%q) }
  server {
    %s
    server_name localhost;
    ssl_certificate ca.pem;
    ssl_certificate_key server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {
      content_by_lua_block { require("autopilot.cli.emulate.service").answer() }
    }
  }
}
]]

--- Returns the text of nginx's configuration file.
---@param found autopilot.cli.EmulateTools
---@param folder string the private folder
---@param http2 boolean offer HTTP/2 beside HTTP/1.1
function nginx.configuration(found, folder, port, http2)
  local loads, folders, listens = {}, {}, {}
  for index, path in ipairs(found.modules) do
    loads[index] = ('load_module "%s";'):format(path)
  end
  -- The folders that were set when nginx was built belong to the system's own service.
  for _, kind in ipairs { "client_body", "proxy", "fastcgi", "uwsgi", "scgi" } do
    if not found.build:find("--without-http_" .. kind .. "_module", 1, true) then
      table.insert(folders, ("  %s_temp_path %s_temp;"):format(kind, kind))
    end
  end
  local words = http2 and not found.http2_directive and "ssl http2" or "ssl"
  for index, address in ipairs { "127.0.0.1", found.ipv6 and "[::1]" } do
    listens[index] = ("listen %s:%d %s;"):format(address, port, words)
  end
  if http2 and found.http2_directive then
    table.insert(listens, "http2 on;")
  end
  return configuration:format(
    table.concat(loads, "\n"),
    table.concat(folders, "\n"),
    ("%s/?.lua;%s/?/init.lua;"):format(found.lua_folder, found.lua_folder),
    "rm -rf " .. shell.quote(folder),
    table.concat(listens, "\n    ")
  )
end

--- Patterns in nginx's log, and what they mean.
local known_complaints = {
  ["module 'cjson"] = "nginx's Lua has no cjson: install the Debian package lua-cjson",
  ["'resty%.core'"] = "nginx's Lua has no resty.core: install the Debian package lua-resty-core",
}

--- Returns the reason in nginx's log why it did not start; nil if its port is in use.
function nginx.why_not_started(log)
  if log:find("Address already in use", 1, true) then
    return nil
  end
  for pattern, meaning in pairs(known_complaints) do
    if log:find(pattern) then
      return meaning
    end
  end
  for level, complaint in log:gmatch "%[(%l+)%] ([^\n]*)" do
    if level ~= "warn" then
      return "nginx did not start: " .. complaint:gsub("^[%d#]+: ", "")
    end
  end
  return "nginx did not start"
end

--- The configuration with which the openssl command makes the certificate: self-signed, and for this machine only.
nginx.certificate_request = [[
[req]
distinguished_name = name
prompt = no
x509_extensions = server
[name]
CN = localhost
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
]]

return nginx
