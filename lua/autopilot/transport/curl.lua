--- The HTTP layer over libcurl: requests in, responses or network failures out.
--
-- A transport is callable (`transport(request)`), and can also prepare a request that is sent many
-- times. It owns one transfer set, and with it the connections, made at the first request of a
-- process. How to wait for a transfer is injected, so that an event loop can take the place of
-- blocking. Retries, tokens and what a status means are left to others.

local core = require "autopilot.core"
local named_file = require "autopilot.base.named_file"
local options = require "autopilot.base.options"

---@class autopilot.HttpRequest
---@field method "GET"|"POST"
---@field url string https, or http for a loopback or link-local host
---@field headers table<string, string>?
---@field body string?
---@field timeout { connect: number?, total: number? }? seconds

---@class autopilot.Timings seconds since the request began; 0 for a phase that was not needed
---@field name_lookup number
---@field connect number
---@field tls number
---@field first_byte number
---@field total number

---@class autopilot.HttpResponse
---@field status integer of the final answer; it counts even where `network` says the rest was cut
---@field http_version string? `1.1`, `2`
---@field headers table<string, string> by lower-case name, repeated ones joined by ", "
---@field body string
---@field timings autopilot.Timings
---@field sends integer how often the request may have been put on the wire
---@field intermediary boolean? a transport for tests says whose its answer is; nil: the headers tell
---@field header (fun(self, ...: string): string?)? headers by name, without building the table

---@class autopilot.NetworkFailure
---@field stage "resolve"|"connect"|"proxy"|"tls"|"send"|"receive"
---@field name string libcurl's name for it: `CURLE_COULDNT_CONNECT`
---@field message string
---@field timeout boolean
---@field delivered "no"|"unknown" `no` only when the request surely was not sent
---@field sends integer

local curl = {}

local default_timeout = { connect = 10, total = 60 }

local proxy_schemes = { http = true, https = true, socks5 = true, socks5h = true }

--- Is it `scheme://[user[:password]@]host[:port]`? libcurl quotes what it cannot read, password and
-- all, so that nothing unreadable may reach it.
local function is_proxy_url(text)
  local scheme, authority = text:match "^(%a[%w]*)://([^%s%c/?#]+)/?$"
  local place = authority and authority:match "[^@]*$" or ""
  local port = place:match "^[%w._\128-\255-]+(.*)$" or place:match "^%[[%x:.]+%](.*)$"
  local number = port and (port == "" and 0 or tonumber(port:match "^:(%d+)$"))
  return proxy_schemes[scheme or ""] and number ~= nil and number <= 65535
end

local certificate = "%-%-%-%-%-BEGIN [%u%d ]*CERTIFICATE%-%-%-%-%-"

--- Why a file of authorities cannot be used. It is read for each connection, so that a pipe will not do.
local function complaint_about_ca_file(path)
  local shown = path:gsub("%c", "?")
  local cannot = "cannot be read: " .. shown .. ": %s"
  local complaint = named_file.read_complaint(path)
  if complaint then
    return cannot:format(complaint)
  end
  local file, reason = io.open(path, "rb")
  if not file then
    return ("cannot be read: %s"):format((reason:gsub("%c", "?")))
  elseif not file:seek "cur" then
    file:close()
    return cannot:format "it is a pipe, and is read more than once"
  end
  local text
  text, reason = file:read(64 * 1024)
  if text and not text:find(certificate) then
    text = text .. (file:read "*a" or "")
  end
  file:close()
  if not text then
    return cannot:format(reason or "it is empty")
  elseif not text:find(certificate) then
    return ("must hold certificates in PEM ('-----BEGIN CERTIFICATE-----'); %s has none"):format(
      shown
    )
  end
end

--- Rules of the `http` options, for whoever takes them from a user.
curl.rules = {
  ca_file = {
    type = "string",
    secret = true, -- the complaint names it
    check = complaint_about_ca_file,
  },
  ca_path = { type = "string" },
  proxy = {
    type = "string",
    secret = true, -- it may contain a password
    check = function(value)
      if value ~= "" and not is_proxy_url(value) then
        return "must be like 'http://host:port' (schemes http, https, socks5, socks5h) or ''"
      end
    end,
  },
  version = { type = "string", one_of = { "1.1", "2" } },
  max_body = { type = "integer", default = 1024 * 1024, min = 0, max = 1e9 },
  user_agent = {
    type = "string",
    secret = true, -- a header's value is never quoted
    default = "autopilot-sync/" .. require "autopilot.version",
    check = function(value)
      return value:find "[%c]" and "must not contain control characters" or nil
    end,
  },
}

-- The table of headers is built when somebody asks for it: a 204 that nobody inspects has none.
local Response = {}

function Response:__index(name)
  if name ~= "headers" then
    return nil
  end
  local headers = self.transfer:headers()
  self.headers = headers
  return headers
end

--- The values of the named headers, without building the table.
local function find_headers(response, ...)
  return response.transfer:header(...)
end

local function network_failure(transfer, sends)
  local stage, name, message, timeout, delivered = transfer:failure()
  return {
    stage = stage,
    name = name,
    message = message,
    timeout = timeout,
    delivered = delivered,
    sends = sends,
  }
end

--- The response, with a network failure beside it when it was cut; or nil and the failure.
---@param transfer any a finished one
---@return autopilot.HttpResponse?
---@return autopilot.NetworkFailure?
function curl.read_result(transfer)
  local status, http_version, body, sends, is_complete, lookup, connect, tls, first_byte, total =
    transfer:result()
  local network = not is_complete and network_failure(transfer, sends) or nil
  if not status then
    return nil, network
  end
  return setmetatable({
    status = status,
    http_version = http_version,
    body = body,
    sends = sends,
    header = find_headers,
    transfer = transfer,
    timings = {
      name_lookup = lookup,
      connect = connect,
      tls = tls,
      first_byte = first_byte,
      total = total,
    },
  }, Response),
    network
end

---@class autopilot.CurlTransport
-- Called with a request it returns a response, or nil and a network failure; both when the answer was
-- cut after its status.
---@operator call(autopilot.HttpRequest): autopilot.HttpResponse?, autopilot.NetworkFailure?
local Transport = {}
Transport.__index = Transport

--- Makes the transfer set of this process; sockets from before a fork are never used after it.
local function new_set(self)
  self.set, self.process = core.transfer_set(), core.process_id()
  return self.set
end

--- A request of the C module's, for whoever drives a transfer set of its own.
---@param http table as in the client's options
---@param request autopilot.HttpRequest without timeout and authorization
function curl.prepare(http, request)
  return core.request {
    method = request.method,
    url = request.url,
    headers = request.headers,
    body = request.body,
    ca_file = http.ca_file,
    ca_path = http.ca_path,
    proxy = http.proxy,
    user_agent = http.user_agent,
    http_version = http.version,
    max_body = http.max_body,
  }
end

--- Makes a request once that is sent many times. An attempt adds only what differs.
---@param request autopilot.HttpRequest without timeout and authorization
---@return fun(connect: number, total: number, token: string?, client_request_id: string?, retry_attempt: integer?): autopilot.Reply send
function Transport:prepare_replies(request)
  local prepared, wait = curl.prepare(self.http, request), self.wait
  return function(connect, total, token, client_request_id, retry_attempt)
    local set = self.process == core.process_id() and self.set or new_set(self)
    local transfer = set:add(prepared, connect, total, token, client_request_id, retry_attempt)
    if wait then
      wait(set, transfer)
    else
      -- Blocks, in steps short enough for an interrupt to be noticed.
      while not set:wait(transfer, 0.5) do
      end
    end
    return transfer
  end
end

--- The same, for whoever wants a response, or nil and a network failure.
---@param request autopilot.HttpRequest without timeout and authorization
---@return function send
function Transport:prepare(request)
  local send = self:prepare_replies(request)
  return function(...)
    return curl.read_result(send(...))
  end
end

function Transport:__call(request)
  local timeout = request.timeout or default_timeout
  local connect = timeout.connect or default_timeout.connect
  return self:prepare(request)(connect, timeout.total or default_timeout.total)
end

--- Closes all connections. The transport may be used again; it then opens new ones.
function Transport:close()
  local set, is_ours = self.set, self.process == core.process_id()
  self.set = nil
  if set and is_ours then
    set:close()
  end
end

local rules = {
  http = { type = "table", fields = curl.rules },
  wait = { type = "function" },
}

--- A transport over libcurl.
-- `http` is as in the client's options; `wait` steps the set until the transfer has finished.
---@param given { http: table?, wait: (fun(set, transfer))? }?
---@return autopilot.CurlTransport
function curl.new(given)
  local checked = options.check("autopilot.transport.curl", rules, given)
  local wait = checked.wait
    and function(set, transfer)
      set:take() -- the set need not keep one whose wait has raised: nobody asks for it any more
      checked.wait(set, transfer)
      set:discard(transfer) -- nor one that has finished
    end
  return setmetatable({ http = checked.http, wait = wait }, Transport)
end

return curl
