--- What an exchange sends with, of any HTTP layer: a request that is prepared once and gives replies.
--
-- Our own over libcurl has that. Another may be a function of a whole request, or prepare requests but
-- give responses; what a function returns is checked, for it is somebody else's.

local adapter = {}

---@class autopilot.Reply what came of a request that was sent; libcurl's own is a transfer (`core`)
---@field intermediary boolean? whether a proxy, filter or portal answered; nil: the headers tell
local Reply = {}
Reply.__index = Reply

--- What it is: `sends` is how often the request may have been put on the wire, the five times are
-- those of `autopilot.Timings`.
---@return integer? status, string? http_version, string body, integer sends, boolean is_complete
---@return number? name_lookup, number? connect, number? tls, number? first_byte, number? total
function Reply:result()
  local response, network = self.response, self.network
  if not response then
    return nil, nil, "", network.sends or (network.delivered == "no" and 0 or 1), false
  end
  local timings = type(response.timings) == "table" and response.timings or {}
  local version = response.http_version
  return response.status,
    type(version) == "string" and #version <= 16 and version:match "^[%w./]+$" or nil,
    response.body or "",
    response.sends or 1,
    network == nil,
    timings.name_lookup,
    timings.connect,
    timings.tls,
    timings.first_byte,
    timings.total
end

--- The values of up to four headers; a response may offer to find them without building a table.
---@param a string in small letters
---@return string? ...
function Reply:header(a, b, c, d)
  local response = self.response
  if response.header then
    return response:header(a, b, c, d)
  end
  local headers = response.headers or {}
  return headers[a], b and headers[b], c and headers[c], d and headers[d]
end

--- Why no whole answer came.
---@return string? stage, string? name, string? message, boolean? timeout, string? delivered
function Reply:failure()
  local network = self.network
  return network.stage, network.name, network.message, network.timeout, network.delivered
end

--- A reply made of a response, or of a network failure.
---@param response autopilot.HttpResponse?
---@param network autopilot.NetworkFailure?
---@param is_of_function boolean? a function answered: with JSON or without a body it counts as Graph's, so
-- that a test needs none of Graph's headers; a proxy, filter or portal sends a page
---@return autopilot.Reply
function adapter.reply(response, network, is_of_function)
  local intermediary = response and response.intermediary
  if intermediary == nil and is_of_function and response then
    local is_page = (response.body or ""):find "^%s*[^%s{%[]" ~= nil
    if not is_page then
      intermediary = false
    end
  end
  return setmetatable(
    { response = response, network = network, intermediary = intermediary },
    Reply
  )
end

--- Says what is wrong with what somebody's own transport returned, or nil.
local function complaint_about(response, network)
  if response == nil then
    return type(network) ~= "table" and "must return a response, or nil and a network table" or nil
  end
  local status = type(response) == "table" and response.status
  if type(status) ~= "number" or not (status >= 100 and status <= 999 and status % 1 == 0) then
    return "must return a response with a status, or nil and a network table"
  elseif response.body ~= nil and type(response.body) ~= "string" then
    return "must return a body that is a string"
  elseif response.headers ~= nil and type(response.headers) ~= "table" then
    return "must return headers in a table"
  end
  for _, value in pairs(response.headers or {}) do
    if type(value) ~= "string" and type(value) ~= "number" then
      return "must return headers that are strings, repeated ones joined by ', '"
    end
  end
end

--- For a transport that does not prepare requests: makes a whole one for each attempt, and checks what
-- comes back.
local function prepare_whole(transport, template)
  return function(connect, total, token, client_request_id, retry_attempt)
    local headers = {}
    for name, value in pairs(template.headers) do
      headers[name] = value
    end
    headers["Authorization"] = "Bearer " .. token
    headers["client-request-id"] = client_request_id
    headers["retry-attempt"] = retry_attempt > 0 and ("%d"):format(retry_attempt) or nil
    local response, network = transport {
      method = template.method,
      url = template.url,
      headers = headers,
      timeout = { connect = connect, total = total },
    }
    return response, network, complaint_about(response, network)
  end
end

--- Makes a request once that is sent many times.
---@param transport autopilot.Transport
---@param template autopilot.HttpRequest without timeout and authorization
---@param user_agent string for a transport that does not send its own
---@return function send takes connect and total timeout, token, client-request-id, retry attempt;
-- returns a reply, or nil and what is wrong with what the transport returned
function adapter.prepare_replies(transport, template, user_agent)
  local is_object = type(transport) == "table"
  if is_object and transport.prepare_replies then
    return transport:prepare_replies(template)
  end
  local send
  local is_prepared = is_object and transport.prepare ~= nil
  if is_prepared then
    send = transport:prepare(template)
  else
    template.headers["User-Agent"] = user_agent
    send = prepare_whole(transport, template)
  end
  return function(...)
    local response, network, complaint = send(...)
    if complaint then
      return nil, complaint
    end
    return adapter.reply(response, network, not is_prepared)
  end
end

return adapter
