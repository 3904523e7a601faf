--- The HTTP layer over libcurl: requests in, responses or network failures out.
--
-- A transport is callable (`transport(request)`), and can also prepare a request that is sent many
-- times. Its drive sends the request and waits for the answer: by blocking, or in an event loop.
-- Retries, tokens and the meaning of a status are not its concern.

local core = require "autopilot.core"
local lazy = require "autopilot.base.lazy"
local merged = require "autopilot.base.merged"
local options = require "autopilot.base.options"
local url_parts = require "autopilot.base.url"

---@class autopilot.HttpRequest
---@field method "GET"|"POST"
---@field url string https, or http for a loopback or link-local host
---@field headers table<string, string>?
---@field body string?
---@field timeout { connect: number?, total: number? }? seconds
---@field facts boolean? the answer has `facts`
---@field inspect boolean? the same, and it is sent over a new connection, whose other end is looked at

---@class autopilot.Timings seconds since the request began; 0 for a phase that was not needed
---@field name_lookup number
---@field connect number
---@field tls number
---@field first_byte number
---@field total number

---@class autopilot.HttpResponse
---@field status integer of the final answer; valid even where `network` says that the rest was cut
---@field http_version string? `1.1`, `2`
---@field headers table<string, string> by lower-case name, repeated ones joined by ", "
---@field body string
---@field timings autopilot.Timings
---@field sends integer how often the request may have been put on the wire
---@field intermediary boolean? set by transports for tests: whether a proxy or filter answered, not Graph
---@field facts string? of the connection and its certificate, where wanted: texts `Name:value`, each ended by NUL

---@class autopilot.NetworkFailure
---@field stage "resolve"|"connect"|"proxy"|"tls"|"send"|"receive"
---@field name string libcurl's name for it: `CURLE_COULDNT_CONNECT`
---@field message string
---@field timeout boolean
---@field delivered "no"|"unknown" `no` only when the request surely was not sent
---@field sends integer
---@field facts string? as of a response

---@class autopilot.TransferAttempt what one attempt adds to a prepared request
---@field connect number seconds
---@field total number seconds
---@field token string?
---@field client_request_id string?
---@field retry_attempt integer? sent as `retry-attempt` when it is above 0
---@field send_by number? on the clock of `autopilot.core`: the request is not sent later

local http_options = lazy "autopilot.transport.http_options"

local curl = {}

local default_timeout = { connect = 10, total = 60 }

--- Rules of the `http` options, for all functions that take them from a user.
curl.rules = {
  ca_file = {
    type = "string",
    secret = true, -- not quoted again: the complaint names the file
    check = function(path)
      return http_options.complaint_about_ca_file(path)
    end,
  },
  ca_path = { type = "string" },
  proxy = {
    type = "string",
    secret = true, -- it may contain a password
    check = function(value)
      return http_options.complaint_about_proxy(value)
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

-- ---- Driving transfers -------------------------------------------------------------------------------

--- The network failure of a request that surely was not sent.
---@param name string
---@param message string
---@return autopilot.NetworkFailure
function curl.unsent(name, message)
  return {
    stage = "connect",
    name = name,
    message = message,
    timeout = name == "DEADLINE",
    delivered = "no",
    sends = 0,
  }
end

--- The transfer set of a drive (its field `set`), made when it is first needed. Sockets from before a fork are not used
-- after it.
---@param given table? as for `core.transfer_set`
---@return any? set
---@return autopilot.NetworkFailure? failure
function curl.set_of(drive, given)
  local process = core.process_id()
  if not drive.set or drive.process ~= process then
    -- Newer libcurls (seen with 8.21) need descriptors for a set.
    local is_made, set = pcall(core.transfer_set, given)
    if not is_made then
      return nil, curl.unsent("CURLE_FAILED_INIT", set)
    end
    drive.set, drive.process = set, process
  end
  return drive.set
end

--- Closes a drive's connections. It may be used again; it then opens new ones.
function curl.close_set(drive)
  local set = drive.set
  drive.set = nil
  if set and drive.process == core.process_id() then
    set:close()
  end
end

--- Moves the transfers of a transport: sends a prepared request and returns its response or failure. The others are
-- the fleet's and the two of OpenResty. `run` gets the prepared request, an `autopilot.TransferAttempt`, and the
-- `autopilot.HttpRequest` of which it was prepared.
---@class autopilot.Drive
---@field run fun(self, prepared, attempt, request): autopilot.HttpResponse?, autopilot.NetworkFailure?
---@field close fun(self) gives up all transfers and closes the connections that are its own

--- The drive that waits for each transfer: nothing else in this thread runs meanwhile.
---@class autopilot.BlockingDrive: autopilot.Drive
local Blocking = {}
Blocking.__index = Blocking
curl.Blocking = Blocking

function Blocking.new()
  return setmetatable({}, Blocking)
end

--- Waits until the transfer has finished, in steps short enough for an interrupt to be noticed.
function Blocking.wait(set, transfer)
  repeat
    set:step(0.5)
  until transfer:is_finished()
end

function Blocking:run(prepared, attempt)
  local set, failure = curl.set_of(self)
  if not set then
    return nil, failure
  end
  set:take() -- drops a transfer whose wait was ended by an error, as an interrupt is one
  local transfer = set:add(prepared, attempt)
  self.wait(set, transfer)
  set:discard(transfer) -- it has finished, and need not be kept
  return transfer:result()
end

Blocking.close = curl.close_set

-- ---- The transport -----------------------------------------------------------------------------------

---@class autopilot.CurlTransport
-- Called with a request it returns a response, or nil and a network failure; both when the answer was
-- cut after its status.
---@field http table as in the client's options
---@field drive autopilot.Drive
---@operator call(autopilot.HttpRequest): autopilot.HttpResponse?, autopilot.NetworkFailure?
local Transport = {}
Transport.__index = Transport

local function is_to_this_machine(url)
  return url_parts.is_loopback(url:lower():match "^%a+://(%[?[^/]-%]?):?%d*/" or "")
end

--- Prepares a request that is sent many times.
---@param request autopilot.HttpRequest without timeout and authorization
---@return fun(attempt: autopilot.TransferAttempt): autopilot.HttpResponse?, autopilot.NetworkFailure? send
function Transport:prepare(request)
  local http = self.http
  local given = merged(http, { -- no more of the request: a token provider's may have any field
    method = request.method,
    url = request.url,
    headers = request.headers,
    body = request.body,
    facts = request.facts,
    inspect = request.inspect,
    http_version = http.version,
  })
  if http.proxy == nil and is_to_this_machine(request.url) then
    given.proxy = "" -- a proxy named by the environment cannot reach this machine's loopback
  end
  local prepared = core.request(given)
  return function(attempt)
    local response, failure = self.drive:run(prepared, attempt, request)
    if failure and failure.name == "CURLE_SSL_CACERT_BADFILE" and http.ca_file then
      -- libcurl does not say why: the file may be missing, or unreadable for a worker of nginx whose client the master
      -- process has made.
      local complaint = http_options.complaint_about_ca_file(http.ca_file)
      failure.message = complaint and "http.ca_file " .. complaint or failure.message
    end
    return response, failure
  end
end

function Transport:__call(request)
  local timeout = request.timeout or default_timeout
  return self:prepare(request) {
    connect = timeout.connect or default_timeout.connect,
    total = timeout.total or default_timeout.total,
  }
end

--- Closes the connections that are the transport's own. It may be used again.
function Transport:close()
  self.drive:close()
end

local rules = {
  http = { type = "table", fields = curl.rules },
  drive = { type = "table" },
}

--- A transport over libcurl.
---@param given { http: table?, drive: autopilot.Drive? }? `http` as in the client's options; the default drive blocks
---@return autopilot.CurlTransport
function curl.new(given)
  local checked = options.check("autopilot.transport.curl", rules, given)
  checked.drive = checked.drive or Blocking.new()
  return setmetatable(checked, Transport)
end

return curl
