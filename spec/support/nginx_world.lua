--- Real nginx for specs: in a private folder, on a port that was free, ended when the spec's process ends.
--
--   local server = nginx_world.start { conf = "…", files = { ["listen.conf"] = "listen %d;" } }
--   server:get("/ready").status
--   server:stop()
--
-- nginx runs its own LuaJIT, with the modules of this tree and the C module built for LuaJIT. It serves
-- on in the background: a spec sends requests, and waits for conditions with `support.await`.

local await = require "support.await"
local files = require "support.files"
local free_port = require "support.free_port"
local http_call = require "support.http_call"
local nginx = require "autopilot.cli.emulate.nginx"
local overlay = require "support.overlay"
local shell = require "autopilot.cli.emulate.shell"
local socket = require "socket"

local nginx_world = {}

local ports_to_try = 5

-- The process that owns nginx: it ends it, and removes the folder, when its own standard input ends,
-- which is when the spec closes it or dies. `cat` has that input alone, so that no child keeps it open.
local supervisor = [=[
clean_up() {
  trap '' HUP INT TERM
  [ -n "$nginx_process" ] && kill "$nginx_process" 2>/dev/null && wait "$nginx_process"
  kill "$watch" 2>/dev/null
  cd / && rm -rf "$folder"
}
trap clean_up EXIT
# A second signal must not end the shell in the middle of cleaning up.
trap 'trap "" HUP INT TERM; exit 0' HUP INT TERM
cd "$folder" || exit
(
  while read -r line; do :; done <&3
  kill "$$"
) &
watch=$!
echo "$$" >supervisor.pid
env $environment "$nginx" -p "$folder/" -c "$folder/nginx.conf" -g "$globals" \
  2>>error.log >/dev/null 3<&- &
nginx_process=$!
wait "$nginx_process"
echo $? >ended
wait "$watch" # the spec wants to read why
]=]

--- What a file holds, which nginx or its supervisor may not have made yet.
local function read(path)
  return files.read(path) or ""
end

--- Where the C module for nginx's LuaJIT is: a pattern for LUA_CPATH, or nil.
local function c_module_path(root)
  local folder = ("%s/%s/luajit"):format(root, os.getenv "BUILD" or "build")
  return shell.read('[ -f "$1/autopilot/core.so" ] && echo yes', folder) ~= "" and folder .. "/?.so"
end

local found, missing

local function look()
  if found or missing then
    return
  end
  -- An OpenResty on the PATH is used first; else nginx with its Lua module.
  local openresty = shell.read("command -v openresty"):match "^(/.*)/openresty\n"
  local search_path = openresty and openresty .. ":/usr/bin:/bin" or nil
  found, missing = nginx.find(os.getenv "TMPDIR" or "/tmp", search_path)
  if found then
    found.root = shell.read "pwd":match "^[^\n]+"
    found.lua_cpath = c_module_path(found.root)
    missing = not found.lua_cpath and "the C module is not built for LuaJIT" or nil
  end
end

--- Why nothing of this can be run here: another Lua (nginx has its own, once is enough), or what is
-- missing.
---@return string?
function nginx_world.obstacle()
  if not rawget(_G, "jit") then
    return "nginx runs its own LuaJIT: these are run once, with the specs of LuaJIT"
  end
  look()
  return missing
end

--- The root folder of this tree.
---@return string
function nginx_world.root()
  look()
  return found.root
end

--- What a server says to listen with TLS, offering HTTP/1.1 and HTTP/2, in the words of this nginx.
---@return string
function nginx_world.listen_with_tls()
  look()
  return found.http2_directive and "listen 127.0.0.1:$PORT ssl backlog=1024; http2 on;"
    or "listen 127.0.0.1:$PORT ssl http2 backlog=1024;"
end

---@class NginxWorld
---@field port integer
---@field folder string
---@field worker_count integer
---@field environment table<string, string>
local Server = {}
Server.__index = Server

local function assignments(environment)
  local words = {}
  for name, value in pairs(environment) do
    words[#words + 1] = shell.quote(name .. "=" .. value)
  end
  return table.concat(words, " ")
end

--- Sends a request; its answer is read by the returned call's `answer()`.
---@param method string
---@param path string
---@param headers table<string, string>?
function Server:send(method, path, headers)
  return http_call.send(self.port, method, path, headers)
end

--- Sends a GET and waits for the answer.
---@param path string
---@return { status: integer, headers: table<string, string>, body: string }
function Server:get(path)
  return self:send("GET", path):answer()
end

---@param path string
---@param headers table<string, string>?
function Server:post(path, headers)
  return self:send("POST", path, headers):answer()
end

--- The error log up to now.
---@return string
function Server:log()
  return read(self.folder .. "/error.log")
end

--- Up to five lines of the log that are of level `warn` or graver, but for those that match a pattern.
---@param expected string[]? patterns
---@return string[]
function Server:complaints(expected)
  local lines = {}
  for line in self:log():gmatch "[^\n]+" do
    local is_grave = not line:match "%[debug%]"
      and not line:match "%[info%]"
      and not line:match "%[notice%]"
    for _, pattern in ipairs(expected or {}) do
      is_grave = is_grave and not line:match(pattern)
    end
    if is_grave and #lines < 5 then
      lines[#lines + 1] = line
    end
  end
  return lines
end

--- The process ids of the workers, those that are shutting down left out.
---@return integer[] ids in ascending order
function Server:workers()
  local ids = {}
  local listed =
    shell.read('ps -o pid= -o args= --ppid "$1" | grep "worker process$"', tostring(self.master))
  for id in listed:gmatch "(%d+) nginx[^\n]*" do
    ids[#ids + 1] = tonumber(id)
  end
  table.sort(ids)
  return ids
end

--- All processes that the master has, also workers that are shutting down.
---@return integer
function Server:process_count()
  return select(2, shell.read('ps -o pid= --ppid "$1"', tostring(self.master)):gsub("%d+", ""))
end

--- Reads the configuration again; returns when new workers have taken over.
function Server:reload()
  local before = self:workers()[1]
  shell.read('kill -HUP "$1"', tostring(self.master))
  await("new workers after a reload", function()
    local first = self:workers()[1]
    return first and first ~= before and #self:workers() == self.worker_count
  end)
end

--- Kills a worker, as a crash would; returns when it has a successor.
---@param id integer one of `workers()`
function Server:kill_worker(id)
  shell.read('kill -9 "$1"', tostring(id))
  await("a successor of the killed worker", function()
    local ids = self:workers()
    for _, other in ipairs(ids) do
      if other == id then
        return false
      end
    end
    return #ids == self.worker_count
  end)
end

--- Runs nginx in the same folder, until it ends by itself.
---@param more table<string, string> added to its environment
---@return integer code
---@return string output
function Server:try(more)
  local settings = assignments(overlay(overlay({}, self.environment), more))
  local command = [[env $settings "$2" -e stderr -p "$1/" -c "$1/nginx.conf" 2>&1; echo "exit $?"]]
  command = command:gsub("%$settings", function()
    return settings
  end)
  local output = shell.read(command, self.folder, found.nginx)
  return tonumber(output:match "exit (%d+)\n$"), output
end

--- Ends nginx, as `nginx -s stop` does; returns when everything is gone. Idempotent.
function Server:stop()
  if not self.pipe then
    return
  end
  local id = read(self.folder .. "/supervisor.pid"):match "%d+"
  if id then
    shell.read('kill "$1" 2>/dev/null', id)
  end
  self.pipe:close()
  self.pipe = nil
end

-- Logs and bodies stay in the folder: the paths that nginx was built with are open to root alone.
local function private_paths()
  local lines = { "access_log off;" }
  for _, kind in ipairs { "client_body", "proxy", "fastcgi", "uwsgi", "scgi" } do
    if not found.build:find("--without-http_" .. kind .. "_module", 1, true) then
      table.insert(lines, ("%s_temp_path %s_temp;"):format(kind, kind))
    end
  end
  return table.concat(lines, "\n  ")
end

local function make_folder(given, port)
  local folder = shell.read('mktemp -d "$1/nginx-world-XXXXXXXX"', found.directory):match "^[^\n]+"
  shell.read('mkdir "$1/logs" "$1/modules-enabled"', folder)
  local loads = {}
  for index, module in ipairs(found.modules) do
    loads[index] = ('load_module "%s";\n'):format(module)
  end
  files.write(folder .. "/modules-enabled/lua.conf", table.concat(loads))
  local values = { PORT = tostring(port), PRIVATE = private_paths() }
  for name, text in pairs(given.files or {}) do
    files.write(folder .. "/" .. name, (text:gsub("%$(%u+)%f[%W]", values)))
  end
  for name, target in pairs(given.links or {}) do
    shell.read('ln -s "$1" "$2"', target, folder .. "/" .. name)
  end
  return folder
end

--- nginx's environment: that of the spec, the library's modules, and what was given.
local function environment_of(given)
  local environment = {
    LUA_PATH = ("%s/?.lua;%s/?/init.lua;%s/spec/?.lua;;"):format(
      found.lua_folder,
      found.lua_folder,
      found.root
    ),
    LUA_CPATH = found.lua_cpath .. ";;",
  }
  overlay(environment, given.environment)
  return environment
end

local function launch(given)
  local port = free_port()
  local folder, environment = make_folder(given, port), environment_of(given)
  -- Root's workers would run as the user `nobody`, who can read neither this tree nor private folders.
  local is_root = shell.read "id -u":match "^0\n"
  local pipe = assert(io.popen("unset LD_PRELOAD; exec sh", "w"))
  pipe:write(
    ("folder=%s nginx=%s watch= nginx_process=\n"):format(
      shell.quote(folder),
      shell.quote(found.nginx)
    ),
    ("globals=%s\n"):format(shell.quote(is_root and "user root;" or "")),
    "main() {\n",
    (supervisor:gsub("%$environment", function()
      return assignments(environment)
    end)),
    "}\nmain 3<&0 </dev/null; exit\n"
  )
  pipe:flush()
  local worker_count = read(folder .. "/nginx.conf"):match "\nworker_processes (%d+);"
  return setmetatable({
    port = port,
    folder = folder,
    environment = environment,
    pipe = pipe,
    worker_count = tonumber(worker_count),
  }, Server)
end

local function is_listening(port)
  local connection = socket.connect("127.0.0.1", port)
  if connection then
    connection:close()
  end
  return connection ~= nil
end

--- Waits until it serves: true; or false, when its port was taken meanwhile.
local function await_start(server)
  return await("nginx listens:\n" .. server:log(), function()
    server.master = tonumber(read(server.folder .. "/nginx.pid"):match "%d+")
    if server.master and is_listening(server.port) then
      return #server:workers() == server.worker_count and "ready"
    elseif server:log():match "Address already in use" then
      return "taken"
    elseif read(server.folder .. "/ended") ~= "" then
      error("nginx did not start:\n" .. server:log(), 0)
    end
  end)
end

---@class NginxWorldOptions
---@field files table<string, string>? texts by name; `$PORT` in them is the port, and `$PRIVATE`, in `http`,
-- keeps what nginx writes in its folder
---@field links table<string, string>? paths by name: symbolic links in the folder
---@field environment table<string, string>? of nginx

--- Starts nginx with the configuration `nginx.conf` of its folder. It must say `daemon off`,
-- `pid nginx.pid`, `error_log stderr …`, a number of `worker_processes`, and include `modules-enabled/*.conf`.
---@param given NginxWorldOptions
---@return NginxWorld
function nginx_world.start(given)
  look()
  for _ = 1, ports_to_try do
    local server = launch(given)
    local is_fine, state = pcall(await_start, server)
    if is_fine and state == "ready" then
      return server
    end
    local log = server:log()
    server:stop()
    if not is_fine then
      error(tostring(state) .. "\n" .. log, 2)
    end
  end
  error("no port is free", 2)
end

return nginx_world
