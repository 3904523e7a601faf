--- A store in Redis or Valkey, which several machines can share.
--
-- In nginx the client is lua-resty-redis, which is part of OpenResty: it does not block nginx, and keeps
-- connections in nginx's own pool. Elsewhere it is redis-lua over LuaSocket, because it is small, plain Lua,
-- packaged by Debian, and accepts an open socket, such as one of LuaSec.
--
-- Each method sends one command. The server executes it atomically, and decides which keys have expired. If a
-- master fails before all writes were replicated, some needless requests are sent, nothing worse.

local Connection = require "autopilot.store.connection"
local contract = require "autopilot.store.contract"
local core = require "autopilot.core"
local options = require "autopilot.base.options"

---@class autopilot.store.RedisOptions
---@field [string] autopilot.NoSuchOption
---@field url string `redis[s]://[user[:password]@]host[:port][/database]`; percent-encoded user and password
---@field password string? used instead of one in `url`
---@field ca_file string? `rediss`: certificates to trust, default those that libcurl trusts; in nginx this is `lua_ssl_trusted_certificate`

-- Milliseconds for which nginx keeps an idle connection, and how many of them a worker keeps.
local idle_time, most_idle = 60000, 32

-- Deletes a key if it has that value. Redis runs a script atomically.
local delete_if = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"

-- The server's error codes, explained for the user.
local meanings = {
  READONLY = "this server is a replica and takes no writes: name the master",
  MASTERDOWN = "this server is a replica that has lost its master",
  LOADING = "the server is still loading its data",
  OOM = "the server's memory is full",
  MISCONF = "the server cannot save its data, and takes no writes",
  NOAUTH = "the server wants a password",
  WRONGPASS = "the server refuses the user or the password",
  NOPERM = "the user may not do this: it needs GET, SET, DEL and EVAL",
  MOVED = "the server is part of a cluster: name one that is not, or a proxy",
  CLUSTERDOWN = "the cluster is down",
}

--- Raises an error of the server, with its explanation if there is one.
local function fail(message)
  message = tostring(message):gsub("^.-redis error: ", "")
  local meaning = meanings[message:match "^%u+"]
  error(meaning and ("%s (%s)"):format(meaning, message) or message, 0)
end

-- ---- In nginx ----------------------------------------------------------------------------------------

local function resty_redis()
  for _, name in ipairs { "resty.redis", "nginx.redis" } do -- the second name is Debian's
    local is_there, library = pcall(require, name)
    if is_there then
      return library
    end
  end
  error("lua-resty-redis is missing: it is part of OpenResty; Debian: lua-nginx-redis", 0)
end

--- A function that sends a command and returns its reply.
local function caller_in_nginx(client)
  return function(command, ...)
    local reply, message = client[command](client, ...)
    if not reply then
      fail(message)
    end
    return type(reply) ~= "userdata" and reply or nil -- ngx.null: no value
  end
end

local in_nginx = {}

function in_nginx.open(server)
  local library = resty_redis()
  -- Earlier versions do not support TLS, and would send the password unencrypted.
  if server.tls and (tonumber(library._VERSION) or 0) < 0.28 then
    error("rediss needs lua-resty-redis 0.28 or later", 0)
  end
  local client = library:new()
  client:set_timeout(Connection.patience * 1000)
  local connected, message = client:connect(server.host, server.port, {
    ssl = server.tls,
    ssl_verify = true,
    server_name = server.host,
    -- An authenticated connection may be reused for the same user and database only.
    pool = table.concat(
      { server.address, server.user or "", server.password or "", server.database },
      " "
    ),
  })
  if not connected then
    error(message, 0)
  end
  return {
    client = client,
    call = caller_in_nginx(client),
    is_ready = client:get_reused_times() > 0,
  }
end

function in_nginx.release(opened)
  opened.client:set_keepalive(idle_time, most_idle)
end

function in_nginx.close(opened)
  opened.client:close()
end

-- ---- Elsewhere ---------------------------------------------------------------------------------------

--- Whether a DNS name in a certificate matches the host. `*` stands for the first label (RFC 9525, section
-- 6.3).
local function is_name_of(host, name)
  name = name:lower()
  return name == host or name:sub(1, 2) == "*." and name:sub(2) == host:match "%..+$"
end

--- Raises an error unless the certificate names the host. LuaSec does not check that.
local function check_certificate(certificate, host)
  local names = (certificate:extensions()["2.5.29.17"] or {})
  local bare = host:gsub("[%[%]]", "")
  for _, kind in ipairs { "dNSName", "iPAddress" } do
    for _, name in ipairs(names[kind] or {}) do
      if kind == "dNSName" and is_name_of(host, name) or kind == "iPAddress" and name == bare then
        return
      end
    end
  end
  error("the server's certificate is not for " .. host, 0)
end

local function with_tls(socket, server)
  local is_there, ssl = pcall(require, "ssl")
  if not is_there then
    error("rediss needs LuaSec: install lua-sec (Debian) or the rock luasec", 0)
  end
  local trusted = core.info()
  local wrapped = assert(ssl.wrap(socket, {
    mode = "client",
    protocol = "any",
    options = { "all", "no_sslv2", "no_sslv3", "no_tlsv1", "no_tlsv1_1" },
    verify = "peer",
    cafile = server.ca_file or trusted.ca_file,
    capath = not server.ca_file and trusted.ca_path or nil,
  }))
  wrapped:settimeout(Connection.patience)
  wrapped:sni(server.host)
  assert(wrapped:dohandshake())
  check_certificate(wrapped:getpeercertificate(), server.host)
  return wrapped
end

local elsewhere = {}

function elsewhere.open(server)
  local has_socket, luasocket = pcall(require, "socket")
  local has_redis, library = pcall(require, "redis")
  if not (has_socket and has_redis) then
    local missing = "LuaSocket and redis-lua are missing: install lua-socket and lua-redis "
    error(missing .. "(Debian), or the rock redis-lua", 0)
  end
  local socket = assert(luasocket.tcp())
  socket:settimeout(Connection.patience)
  assert(socket:connect(server.host:gsub("[%[%]]", ""), server.port))
  socket:setoption("tcp-nodelay", true)
  if server.tls then
    socket = with_tls(socket, server)
  end
  local client = library.connect { socket = socket }
  local function call(command, ...)
    local is_fine, reply = pcall(client[command], client, ...)
    if not is_fine then
      fail(reply)
    end
    return reply
  end
  return { socket = socket, call = call }
end

function elsewhere.close(opened)
  opened.socket:close()
end

-- ---- The methods of a store --------------------------------------------------------------------------

local function milliseconds(seconds)
  return ("%d"):format(math.max(1, math.min(math.ceil(seconds * 1000), 2 ^ 53)))
end

local methods = {}

function methods.get(self, key)
  local value, message = self.connection:call(function(opened)
    return opened.call("get", key) or false
  end)
  return value or nil, message
end

function methods.set(self, key, value, ttl)
  local done, message = self.connection:call(function(opened)
    return opened.call("set", key, value, "PX", milliseconds(ttl)) ~= nil
  end)
  return done, message
end

function methods.add(self, key, value, ttl)
  return self.connection:add(self, function(opened)
    return opened.call("set", key, value, "NX", "PX", milliseconds(ttl)) ~= nil
  end, key, value)
end

function methods.delete_if(self, key, value)
  local is_deleted, message = self.connection:call(function(opened)
    return opened.call("eval", delete_if, 1, key, value) == 1
  end)
  return is_deleted, message
end

local metatable = contract.metatable(methods)

--- Closes the connection. The next call opens a new one.
function metatable.__index:close()
  self.connection:shut()
end

-- ---- Making a store ----------------------------------------------------------------------------------

local function decode(text)
  return text
    and (
      text:gsub("%%(%x%x)", function(digits)
        return string.char(tonumber(digits, 16))
      end)
    )
end

--- The parts of a URL; nil if it is not valid.
local function parts_of(address)
  local scheme, rest = address:match "^(rediss?)://(.+)$"
  if not scheme then
    return nil
  end
  local sign_in, place = rest:match "^(.*)@([^@]*)$"
  place = place or rest
  local host, port, database = place:match "^(%[[%x:.]+%]):?(%d*)/?(%d*)$"
  if not host then
    host, port, database = place:match "^([%w._-]+):?(%d*)/?(%d*)$"
  end
  local user, password = (sign_in or ""):match "^([^:]*):?(.*)$"
  port = tonumber(port ~= "" and port or 6379)
  if not host or not port or port < 1 or port > 65535 then
    return nil
  end
  return {
    address = scheme .. "://" .. place,
    tls = scheme == "rediss",
    host = host:lower(),
    port = port,
    database = tonumber(database ~= "" and database or 0),
    user = user ~= "" and decode(user) or nil,
    password = password ~= "" and decode(password) or nil,
  }
end

local rules = {
  url = {
    type = "string",
    required = true,
    secret = true,
    check = function(text)
      return not parts_of(text) and "must be redis[s]://[user[:password]@]host[:port][/database]"
        or nil
    end,
  },
  password = { type = "string", secret = true },
  ca_file = { type = "string" },
}

--- Authenticates and selects the database, unless the connection was used before.
local function prepare(opened, server)
  if opened.is_ready then
    return
  elseif server.password and server.user then
    opened.call("auth", server.user, server.password)
  elseif server.password then
    opened.call("auth", server.password)
  end
  if server.database ~= 0 then
    opened.call("select", ("%d"):format(server.database))
  end
end

--- Makes a store in Redis. It connects on first use.
---@param given autopilot.store.RedisOptions
---@return autopilot.Store
return function(given)
  local checked = options.check("autopilot.store.redis", rules, given)
  local server = parts_of(checked.url)
  server.password = checked.password or server.password
  server.ca_file = checked.ca_file
  local way = rawget(_G, "ngx") and in_nginx or elsewhere
  return setmetatable({
    connection = Connection.new {
      name = "Redis",
      open = function()
        local opened = way.open(server)
        local is_fine, raised = pcall(prepare, opened, server)
        if not is_fine then
          way.close(opened)
          error(raised, 0)
        end
        return opened
      end,
      close = way.close,
      release = way.release,
      secrets = { server.password },
    },
  }, metatable)
end
