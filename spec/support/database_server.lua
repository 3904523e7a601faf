--- Real PostgreSQL, MariaDB, Redis and Valkey for specs: each in a private folder, on a port that was free, ended when
-- the spec's process ends.

local core = require "autopilot.core"
local files = require "support.files"
local merged = require "autopilot.base.merged"
local shell = require "autopilot.cli.emulate.shell"
local socket = require "socket"

local database_server = {}

-- Seconds; more where a tool slows everything down.
local patience = (tonumber(os.getenv "DB_PATIENCE") or 60)
  * (tonumber(os.getenv "SPEC_PATIENCE") or 1)

-- What the log of each server says when it cannot have its port.
local port_is_taken = "ddress already in use"

--- How each server is made and run, in the words of a shell that knows $folder, $port and
-- $password; $as makes a command run as a user that is not root.
local recipes = {
  PostgreSQL = {
    program = [[
      ls -d "$(command -v postgres)" /usr/lib/postgresql/*/bin/postgres 2>/dev/null | tail -1]],
    make = [[
      $as "${program%/*}/initdb" -D "$folder/data" -U tester -A scram-sha-256 \
        --pwfile="$folder/password" --no-sync -E UTF8 --locale=C
      echo "host all all all scram-sha-256" >>"$folder/data/pg_hba.conf"]],
    serve = [[
      exec $as "$program" -D "$folder/data" -h 127.0.0.1 -p "$port" -k "$folder" \
        -c fsync=off -c max_connections=50 -c shared_buffers=1MB]],
    signal = "INT", -- does not wait for clients
    options = { driver = "PostgreSQL", database = "postgres", user = "tester", host = "127.0.0.1" },
    store = "sql",
    needs = { "DBI", "dbd.postgresql" },
  },
  MySQL = {
    program = "command -v mariadbd || command -v mysqld",
    make = [[
      $as mariadb-install-db --no-defaults --datadir="$folder/data" --skip-test-db \
        --auth-root-authentication-method=normal
      printf '%s\n' "CREATE DATABASE store;" \
        "CREATE USER 'tester'@'%' IDENTIFIED BY '$password';" \
        "GRANT ALL ON store.* TO 'tester'@'%';" >"$folder/init.sql"]],
    serve = [[
      exec $as "$program" --no-defaults --datadir="$folder/data" --init-file="$folder/init.sql" \
        --socket="$folder/socket" --port="$port" --bind-address=127.0.0.1 --skip-name-resolve \
        --pid-file="$folder/pid" --innodb-flush-log-at-trx-commit=0]],
    options = { driver = "MySQL", database = "store", user = "tester", host = "127.0.0.1" },
    store = "sql",
    needs = { "DBI", "dbd.mysql" },
  },
  Redis = {
    program = "command -v redis-server",
    make = [[
      printf '%s\n' "port $port" "bind 127.0.0.1" "dir $folder" 'save ""' "user default off" \
        "user tester on >$password ~* +@all" >server.conf
      if [ -f tls.pem ]; then
        printf '%s\n' "port 0" "tls-port $port" "tls-auth-clients no" "tls-cert-file tls.pem" \
          "tls-key-file tls.key" "tls-ca-cert-file tls.pem" >>server.conf
      fi]],
    serve = 'exec $as "$program" "$folder/server.conf"',
    store = "redis",
    needs = { "socket" },
  },
}
recipes.Valkey = merged(recipes.Redis, { program = "command -v valkey-server" })

-- The shell that owns a server: it ends it, and removes the folder, when its own standard input ends, which
-- is when the spec closes it or dies.
local owner = [=[
as=
if [ "$(id -u)" = 0 ]; then
  as="setpriv --reuid=$(id -u nobody) --regid=$(id -g nobody) --clear-groups"
fi
cd "$folder" || exit
[ -f made ] || {
$MAKE
} >log 2>&1 </dev/null || exit
: >made
exec 4>>log
(
  exec 3<&- 1>&4 2>&4
  $SERVE
) &
server=$!
while read -r line; do :; done <&3
kill -s $SIGNAL "$server" 2>/dev/null
{ wait "$server"; } 2>/dev/null
]=]

---@class support.DatabaseServer
---@field port integer
---@field password string
local Server = {}
Server.__index = Server

--- Why there is no such server here, or nil.
---@param kind "PostgreSQL"|"MySQL"|"Redis"|"Valkey"
---@return string?
function database_server.obstacle(kind)
  for _, name in ipairs(recipes[kind].needs) do
    if not pcall(require, name) then
      return ("%s: the module %s is not installed for this Lua"):format(kind, name)
    end
  end
  local program = shell.read(recipes[kind].program):match "^[^\n]+"
  return not program and kind .. " is not installed" or nil
end

--- The options of a store in this server.
---@param given table? replaces some
function Server:options(given)
  local own = { port = self.port, password = self.password }
  if self.recipe.store == "redis" then
    local scheme = self.ca and "rediss" or "redis"
    own = { url = ("%s://tester:%s@127.0.0.1:%d"):format(scheme, self.password, self.port) }
    own.ca_file = self.ca
  end
  return merged(own, self.recipe.options, given)
end

--- A store in this server.
---@param given table? replaces some of its options
---@return autopilot.Store
function Server:store(given)
  return require("autopilot.store." .. self.recipe.store)(self:options(given))
end

--- Starts the server, again after `stop`; returns when it answers.
function Server:start()
  local script = owner:gsub("%$(%u+)", {
    SERVE = self.recipe.serve,
    MAKE = self.recipe.make,
    SIGNAL = self.recipe.signal or "TERM",
  })
  self.pipe = assert(io.popen("unset LD_PRELOAD; exec sh", "w"))
  self.pipe:write(
    ("folder=%s port=%d password=%s program=%s\n"):format(
      shell.quote(self.folder),
      self.port,
      self.password,
      shell.quote(self.program)
    ),
    "main() {\n" .. script .. "\n}\nmain 3<&0 </dev/null; exit\n"
  )
  self.pipe:flush()
  local deadline = core.clock() + patience
  local message, log
  repeat
    socket.select(nil, nil, 0.05)
    message = select(2, self:store():get "is it there?")
    -- A server whose certificate is refused is there too.
    message = message and not message:find "certificate" and message
    log = files.read(self.folder .. "/log") or ""
  until not message or core.clock() > deadline or log:find(port_is_taken, 1, true)
  if message then
    self:remove()
    error(message .. "\n" .. log:sub(-1000), 0)
  end
end

--- Ends the server; what it holds stays for `start`.
function Server:stop()
  if self.pipe then
    self.pipe:close()
    self.pipe = nil
  end
end

--- Kills PostgreSQL with all of its processes, as a crash does, and starts it again.
function Server:crash()
  local process = files.read(self.folder .. "/data/postmaster.pid"):match "^%d+"
  shell.read('kill -9 "$1" $(ps -o pid= --ppid "$1")', process)
  self:stop()
  self:start()
end

--- Ends the server and removes all that was its.
function Server:remove()
  self:stop()
  shell.read('rm -rf "$1"', self.folder)
end

--- Makes a server, and starts it on a port that was free.
local function start(kind, tls)
  local listener = assert(socket.bind("127.0.0.1", 0))
  local port = tonumber((select(2, listener:getsockname())))
  listener:close()
  local recipe = recipes[kind]
  local self = setmetatable({
    kind = kind,
    recipe = recipe,
    port = port,
    password = ("made up %d"):format(port):gsub(" ", "-"),
    folder = shell.read('mktemp -d "${TMPDIR:-/tmp}/database-XXXXXXXX"'):match "^[^\n]+",
    program = shell.read(recipe.program):match "^[^\n]+",
  }, Server)
  files.write(self.folder .. "/password", self.password)
  if tls then
    files.write(self.folder .. "/tls.pem", files.read(tls.certificate))
    files.write(self.folder .. "/tls.key", files.read(tls.key))
    self.ca = tls.ca
  end
  shell.read('if [ "$(id -u)" = 0 ]; then chown -R nobody "$1"; fi', self.folder)
  self:start()
  return self
end

--- Makes and starts a server.
---@param kind "PostgreSQL"|"MySQL"|"Redis"|"Valkey"
---@param tls { certificate: string, key: string, ca: string }? Redis, Valkey: files; it then speaks nothing but TLS
---@return support.DatabaseServer
function database_server.start(kind, tls)
  local is_fine, started
  for _ = 1, 5 do -- another process may take the port first
    is_fine, started = pcall(start, kind, tls)
    if is_fine then
      return started
    elseif not started:find(port_is_taken, 1, true) then
      break
    end
  end
  error(started, 0)
end

return database_server
