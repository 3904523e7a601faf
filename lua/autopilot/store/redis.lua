--- A store in Redis or Valkey, which several machines can share.
--
-- Commands and replies are written and read here (RESP2, the protocol that each server speaks at first), because
-- the sockets of nginx and of LuaSocket have the same methods, and the client libraries have restrictions:
-- lua-resty-redis knows TLS since 0.28 only, and redis-lua is not maintained. In nginx the sockets are nginx's own:
-- they do not block it, and it keeps a pool of connections.
--
-- Each method sends one command. The server executes it atomically, and decides which keys have expired. If a
-- master fails before all writes were replicated, the only effect is that some needless requests are sent.

local Connection = require "autopilot.store.connection"
local core = require "autopilot.core"
local decode = require("autopilot.base.url").percent_decoded
local options = require "autopilot.base.options"

---@class autopilot.store.RedisOptions
---@field [string] autopilot.NoSuchOption
---@field url string `redis[s]://[user[:password]@]host[:port][/database]`; percent-encoded user and password
---@field password string? used instead of one in `url`
---@field ca_file string? `rediss`: certificates to trust, default those that libcurl trusts; in nginx this is `lua_ssl_trusted_certificate`

-- Milliseconds for which nginx keeps an idle connection, and how many of them a worker keeps.
local idle_time, most_idle = 60000, 32

-- Deletes a key if it has that value. Redis runs a script atomically.
local delete_script =
  "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"

-- What the server's error codes mean for the user, where its own messages do not tell.
local meanings = {
  READONLY = "this server is a replica and takes no writes: name the master",
  MASTERDOWN = "this server is a replica that has lost its master",
  OOM = "the server's memory is full",
  MISCONF = "the server cannot save its data, and takes no writes",
  WRONGTYPE = "another program's value of another type has this key",
  WRONGPASS = "the server refuses the user or the password",
  NOPERM = "the user may not do this: it needs GET, SET, DEL and EVAL",
  MOVED = "the server is part of a cluster: name one that is not, or a proxy",
}

--- Raises an error of the server, with its explanation if there is one.
local function fail(message)
  local meaning = meanings[message:match "^%u+"]
  error(meaning and ("%s (%s)"):format(meaning, message) or message, 0)
end

--- Returns the result of a socket's method, or raises its message. LuaSec's `wantread` and `wantwrite` mean a timeout.
local function checked(result, message)
  if not result then
    error((tostring(message):gsub("^want%l+$", "timeout")), 0)
  end
  return result
end

--- Sends a command and returns the server's reply.
---@return string|number|nil reply nil: no value
local function call(opened, ...)
  local socket, words = opened.socket, { ... }
  local parts = { "*" .. #words .. "\r\n" }
  for _, word in ipairs(words) do
    parts[#parts + 1] = "$" .. #word .. "\r\n" .. word .. "\r\n"
  end
  checked(socket:send(table.concat(parts)))
  local line = checked(socket:receive "*l")
  local kind, rest = line:sub(1, 1), line:sub(2)
  local number = tonumber(rest)
  if kind == "-" then
    fail(rest)
  elseif kind == "$" and number then
    return number >= 0 and checked(socket:receive(number + 2)):sub(1, -3) or nil
  elseif kind == ":" or kind == "+" then
    return number or rest
  end
  error("the server does not speak the protocol of Redis", 0)
end

-- ---- In nginx ----------------------------------------------------------------------------------------

local in_nginx = {}

function in_nginx.open(server)
  local socket = _G.ngx.socket.tcp()
  socket:settimeout(Connection.patience * 1000)
  -- An authenticated connection may be reused for the same user and database only.
  local pool =
    table.concat({ server.address, server.user or "", server.password or "", server.database }, " ")
  assert(socket:connect(server.host, server.port, { pool = pool }))
  local is_ready = socket:getreusedtimes() > 0
  if server.tls and not is_ready then
    -- lua-resty-core may raise an error, or return a null pointer, when a certificate is refused.
    local is_fine, session, message = pcall(socket.sslhandshake, socket, nil, server.host, true)
    if not is_fine or session == nil then
      error(is_fine and message or "the TLS handshake failed: nginx's log tells why", 0)
    end
  end
  return { socket = socket, is_ready = is_ready }
end

function in_nginx.release(opened)
  opened.socket:setkeepalive(idle_time, most_idle)
end

-- ---- Elsewhere ---------------------------------------------------------------------------------------

--- Raises an error unless the certificate names the host, which LuaSec does not check. `*` in a name stands for the
-- first label (RFC 9525 section 6.3).
local function check_certificate(certificate, host)
  local names = certificate:extensions()["2.5.29.17"] or {}
  local domain = host:match "%..+$"
  local wildcard = domain and "*" .. domain
  local is_right = options.contains(names.iPAddress or {}, (host:gsub("[%[%]]", "")))
  for _, name in ipairs(names.dNSName or {}) do
    is_right = is_right or name:lower() == host or name:lower() == wildcard
  end
  if not is_right then
    error("the server's certificate is not for " .. host, 0)
  end
end

--- Returns the socket with TLS, after the handshake and the check of the server's certificate.
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
  checked(wrapped:dohandshake())
  check_certificate(wrapped:getpeercertificate(), server.host)
  return wrapped
end

local elsewhere = {}

function elsewhere.open(server)
  local has_socket, luasocket = pcall(require, "socket")
  if not has_socket then
    error("LuaSocket is missing: install lua-socket (Debian) or the rock luasocket", 0)
  end
  local socket = assert(luasocket.tcp())
  socket:settimeout(Connection.patience)
  assert(socket:connect(server.host:gsub("[%[%]]", ""), server.port))
  socket:setoption("tcp-nodelay", true)
  return { socket = server.tls and with_tls(socket, server) or socket }
end

-- ---- The methods of a store --------------------------------------------------------------------------

local function close(opened)
  opened.socket:close()
end

--- Formats seconds as whole milliseconds, at least 1.
local function milliseconds(seconds)
  return ("%d"):format(math.max(1, math.min(math.ceil(seconds * 1000), 2 ^ 53)))
end

local engine = {}

function engine.get(opened, key)
  return call(opened, "GET", key)
end

function engine.set(opened, key, value, ttl)
  return call(opened, "SET", key, value, "PX", milliseconds(ttl)) ~= nil
end

function engine.add(opened, key, value, ttl)
  return call(opened, "SET", key, value, "NX", "PX", milliseconds(ttl)) ~= nil
end

function engine.delete_if(opened, key, value)
  return call(opened, "EVAL", delete_script, "1", key, value) == 1
end

-- ---- Making a store ----------------------------------------------------------------------------------

--- The parts of a URL; nil if it is not valid.
local function parts_of(address)
  local scheme, rest = address:match "^(rediss?)://(.+)$"
  local sign_in, place = (rest or ""):match "^(.-)@?([^@]*)$"
  local user, password = sign_in:match "^([^:]*):?(.*)$"
  local host, port, database = place:match "^(%[[%x:.]+%]):?(%d*)/?(%d*)$"
  if not host then
    host, port, database = place:match "^([%w._-]+):?(%d*)/?(%d*)$"
  end
  port = tonumber(port ~= "" and port or 6379)
  if not host or port < 1 or port > 65535 then
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
  elseif server.user then
    call(opened, "AUTH", server.user, server.password or "")
  elseif server.password then
    call(opened, "AUTH", server.password)
  end
  if server.database ~= 0 then
    call(opened, "SELECT", ("%d"):format(server.database))
  end
end

--- Makes a store in Redis. It connects on first use.
---@param given autopilot.store.RedisOptions
---@return autopilot.Store
return function(given)
  given = options.check("autopilot.store.redis", rules, given)
  local server = parts_of(given.url)
  server.password = given.password or server.password
  server.ca_file = given.ca_file
  local way = rawget(_G, "ngx") and in_nginx or elsewhere
  local connection = Connection.new {
    name = "Redis",
    open = function()
      return Connection.ready(way.open(server), close, prepare, server)
    end,
    close = close,
    release = way.release,
    secrets = { server.password },
  }
  return connection:store(engine)
end
