--- What every configuration says that `nginx_world.start` is given, around what is particular to one.
--
--   local text = nginx_configuration([[ server { listen 127.0.0.1:$PORT; … } ]], { workers = 2 })

local frame = [[
include modules-enabled/*.conf;
daemon off;
pid nginx.pid;
error_log stderr notice;
worker_processes $WORKERS;
worker_shutdown_timeout $SHUTDOWN;
$DESCRIPTORS
$ENVIRONMENT
events { worker_connections $CONNECTIONS; }
http {
  $PRIVATE
$HTTP}
]]

---@class NginxConfiguration
---@field workers integer? default 1
---@field descriptors integer? that a worker may have open
---@field shutdown_timeout integer? seconds that a worker has for what it began
---@field connections integer? of each worker; the default stays below an ordinary user's `ulimit -n`
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
    DESCRIPTORS = given.descriptors and ("worker_rlimit_nofile %d;"):format(given.descriptors)
      or "",
    SHUTDOWN = ("%ds"):format(given.shutdown_timeout or 600),
    WORKERS = ("%d"):format(given.workers or 1),
    CONNECTIONS = ("%d"):format(given.connections or 1000),
    ENVIRONMENT = table.concat(kept, "\n"),
    HTTP = http,
  }
  return (frame:gsub("%$(%u+)", values)) -- $PRIVATE is left to nginx_world
end
