--- The files of the emulated service's private folder: texts only, written by the supervisor.

local files = {}

local nginx_configuration = [[
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log warn;
%s
events {
  include connections.conf;
}
http {
  access_log off;
  server_tokens off;
  # Every request stays in memory: a worker without rights could not write into this folder.
  client_max_body_size 1m;
  client_body_buffer_size 1m;
  large_client_header_buffers 8 128k;
  keepalive_timeout %s;
  keepalive_requests 1000000;
%s
  init_by_lua_file boot.lua;
  server {
    include listen.conf;
%s
    server_name localhost;
    ssl_certificate server.pem;
    ssl_certificate_key server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {
      content_by_lua_block { require("autopilot.cli.emulate.service").answer() }
    }
  }
}
]]

--- What `nginx -c` reads. The supervisor adds where it listens, because ports are tried, and how many
-- connections the system lets it have.
---@param tools autopilot.cli.EmulateTools
---@param keepalive_timeout number seconds that an idle connection is kept
---@param http2 boolean offer HTTP/2 beside HTTP/1.1
---@return string configuration
---@return string listen_words what `listen` needs to say besides
function files.nginx(tools, keepalive_timeout, http2)
  local loads, folders = {}, {}
  for index, path in ipairs(tools.modules) do
    loads[index] = ('load_module "%s";'):format(path)
  end
  -- The folders that were set when nginx was built belong to the system's own service.
  for _, kind in ipairs { "client_body", "proxy", "fastcgi", "uwsgi", "scgi" } do
    if not tools.built_without["http_" .. kind .. "_module"] then
      table.insert(folders, ("  %s_temp_path %s_temp;"):format(kind, kind))
    end
  end
  local configuration = nginx_configuration:format(
    table.concat(loads, "\n"),
    ("%.0fms"):format(keepalive_timeout * 1000),
    table.concat(folders, "\n"),
    http2 and tools.http2_directive and "    http2 on;" or ""
  )
  return configuration, http2 and not tools.http2_directive and "ssl http2" or "ssl"
end

--- What nginx's Lua runs once, as the master process: the worker then needs to read no file.
---@param lua_folder string
---@param folder string the service's private folder
---@return string
function files.boot(lua_folder, folder)
  return ([[
package.path = %q .. "/?.lua;" .. %q .. "/?/init.lua;" .. package.path
require("autopilot.cli.emulate.service").start(%q)
]]):format(lua_folder, lua_folder, folder .. "/settings.json")
end

--- What the openssl command is to put into the certificates.
---@return string
function files.openssl()
  return [[
[req]
distinguished_name = nobody
prompt = no
[nobody]
CN = autopilot-sync emulated service
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
]]
end

return files
