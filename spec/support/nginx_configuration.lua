--- What every configuration says that `nginx_world.start` is given, around what is particular to one.
--
--   local text = nginx_configuration([[ server { listen 127.0.0.1:$PORT; … } ]], { workers = 2 })

local frame = [[
include modules-enabled/*.conf;
daemon off;
pid nginx.pid;
error_log stderr notice;
worker_processes $WORKERS;
$ENVIRONMENT
events { worker_connections $CONNECTIONS; }
http {
  access_log off;
  client_body_temp_path client_body_temp;
$HTTP}
]]

---@class NginxConfiguration
---@field workers integer? default 1
---@field connections integer? of each worker; default 512
---@field environment string[]? names of what the workers keep of nginx's environment

---@param http string what stands in `http`, to the end of its last line
---@param given NginxConfiguration?
---@return string configuration
return function(http, given)
  given = given or {}
  local kept = {}
  for index, name in ipairs(given.environment or {}) do
    kept[index] = ("env %s;"):format(name)
  end
  local values = {
    WORKERS = ("%d"):format(given.workers or 1),
    CONNECTIONS = ("%d"):format(given.connections or 512),
    ENVIRONMENT = table.concat(kept, "\n"),
    HTTP = http,
  }
  return (frame:gsub("%$(%u+)", values))
end
