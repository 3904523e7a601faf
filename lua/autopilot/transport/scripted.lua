--- An HTTP layer for tests: answers from a list, in order, and records the requests.
--
--     local transport = scripted { { status = 503, body = "later" }, { status = 204 } }
--     autopilot.client { token = "t", transport = transport }:sync()
--     assert(#transport.requests == 2)
--
-- A mistake in the script raises where the script is made, and a request that the script does not
-- expect raises as well: a test should fail, not pass by accident. For answers like those of the
-- service itself there is the emulator.

local merged = require "autopilot.base.merged"
local options = require "autopilot.base.options"

--- A response, or with `network` the failure to get one.
---@class autopilot.ScriptedAnswer
---@field status integer? 100 to 599
---@field headers table<string, string|number|(string|number)[]>? names in any case; a list is a repeated one
---@field body string? default ""
---@field http_version string? default "1.1"
---@field timings autopilot.Timings? each 0 by default
---@field sends integer? how often the request may have been put on the wire; default nil
---@field intermediary boolean? a proxy, filter or portal answers, not Graph; default false
---@field network autopilot.ScriptedFailure?

---@class autopilot.ScriptedFailure
---@field stage string? `resolve`, `connect` (default), `proxy`, `tls`, `send`, `receive`
---@field name string? libcurl's name for it; default one that fits
---@field message string? default one that tells it is scripted
---@field timeout boolean? default false
---@field delivered string? "no" or "unknown"; default "no" up to `tls`, "unknown" from `send` on
---@field sends integer? as above

--- A function returns an answer as above, or nil and what `network` holds above.
---@alias autopilot.ScriptedEntry autopilot.ScriptedAnswer|fun(request: table): table?, table?

---@class autopilot.ScriptedTransport
---@field requests table[] copies of all requests, in order, as they were when they came
---@overload fun(request: table): table?, table?

local us = "autopilot.transport.scripted: "

local seconds = { type = "number", default = 0, min = 0 }
local sends = { type = "integer", min = 1 }
local timings = {}
for _, phase in ipairs { "name_lookup", "connect", "tls", "first_byte", "total" } do
  timings[phase] = seconds
end

local response_rules = {
  status = { type = "integer", required = true, min = 100, max = 599 },
  headers = { type = "table", default = {} },
  body = { type = "string", default = "" },
  http_version = { type = "string", default = "1.1" },
  sends = sends,
  -- An answer counts as Graph's by default, so that it need not have Graph's headers.
  intermediary = { type = "boolean", default = false },
  timings = { type = "table", fields = timings },
}

local stages = { "resolve", "connect", "proxy", "tls", "send", "receive" }
local names = {
  resolve = "CURLE_COULDNT_RESOLVE_HOST",
  connect = "CURLE_COULDNT_CONNECT",
  proxy = "CURLE_PROXY",
  tls = "CURLE_SSL_CONNECT_ERROR",
  send = "CURLE_SEND_ERROR",
  receive = "CURLE_RECV_ERROR",
}

local network_rules = {
  network = {
    type = "table",
    required = true,
    fields = {
      stage = { type = "string", default = "connect", one_of = stages },
      name = { type = "string" },
      message = { type = "string" },
      timeout = { type = "boolean", default = false },
      delivered = { type = "string", one_of = { "no", "unknown" } },
      sends = sends,
    },
  },
}

local top_rules = {
  last = { type = "string", default = "once", one_of = { "once", "repeat" } },
}

local function copy(value)
  if type(value) ~= "table" then
    return value
  end
  local copied = {}
  for key, field in pairs(value) do
    copied[key] = copy(field)
  end
  return copied
end

--- Headers in the form of the HTTP layer: names in lower case, values as texts. A mistake raises, naming `where`.
local function normal_headers(where, given, level)
  local headers = {}
  for name, value in pairs(given) do
    local list = type(value) == "table" and value or { value }
    local is_right, text = pcall(table.concat, list, ", ")
    if type(name) ~= "string" or not is_right or headers[name:lower()] then
      local complaint = "%s: header '%s' must be a string, a number or a list of these, given once"
      error(complaint:format(where, tostring(name)), level + 1)
    end
    headers[name:lower()] = text
  end
  return headers
end

--- The answer with all its fields, in a new table. A mistake raises, naming `where`.
local function normalise(where, answer, level)
  level = level + 1
  if type(answer) == "table" and answer.network ~= nil then
    local network = options.check(where, network_rules, answer, level).network
    local stage = network.stage
    local was_sent = stage == "send" or stage == "receive"
    network.delivered = network.delivered or (was_sent and "unknown" or "no")
    network.name = network.name or (network.timeout and "CURLE_OPERATION_TIMEDOUT" or names[stage])
    network.message = network.message or ("scripted failure (%s)"):format(stage)
    return { network = network }
  end
  local checked = options.check(where, response_rules, answer, level)
  checked.headers = normal_headers(where, checked.headers, level)
  return checked
end

local function answer_request(script, request)
  local requests, entries = script.transport.requests, script.entries
  requests[#requests + 1] = copy(request)
  script.asked = script.asked + 1
  local number = script.is_repeating and math.min(script.asked, #entries) or script.asked
  local entry = entries[number]
  if not entry then
    local message = "request %d was not expected: %s %s (the script has %d answers)"
    local method, url = tostring(request.method), tostring(request.url)
    error(us .. message:format(number, method, url, #entries), 2)
  end
  if options.is_callable(entry) then -- it may yield, so pcall is not used here
    local where = us .. ("what the function of answer %d returned"):format(number)
    local response, network = entry(request)
    entry = normalise(where, response or { network = network or {} }, 2)
  end
  if entry.network then
    return nil, copy(entry.network)
  end
  return copy(entry)
end

--- Makes a transport that answers from a list. With `last = "repeat"` the last answer is given for ever; else one
-- request too many raises.
---@param given autopilot.ScriptedEntry[]
---@return autopilot.ScriptedTransport
return function(given)
  if type(given) ~= "table" then
    error((us .. "needs a list of answers (got %s)"):format(type(given)), 2)
  end
  local entries, named = {}, merged(given)
  for index, entry in ipairs(given) do
    local where = ("%sanswer %d"):format(us, index)
    if type(entry) ~= "table" and type(entry) ~= "function" then
      error(("%s: must be a table or a function (got %s)"):format(where, type(entry)), 2)
    end
    -- Copied, so that the caller's tables can change afterwards.
    entries[index] = options.is_callable(entry) and entry or normalise(where, entry, 2)
    named[index] = nil
  end
  local checked = options.check("autopilot.transport.scripted", top_rules, named)
  local script = { entries = entries, is_repeating = checked.last == "repeat", asked = 0 }
  if script.is_repeating and not entries[1] then
    error(us .. "there is no last answer to repeat", 2)
  end
  script.transport = setmetatable({ requests = {} }, {
    __call = function(_, request)
      return answer_request(script, request)
    end,
  })
  return script.transport
end
