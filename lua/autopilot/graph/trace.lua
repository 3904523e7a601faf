--- Emits the events `trace`: each request and its answer in lines, as `curl -v` shows them, without secrets.

local merged = require "autopilot.base.merged"
local protected_call = require "autopilot.base.protected_call"
local redact = require "autopilot.base.redact"
local url_parts = require "autopilot.base.url"

local trace = {}

-- Headers of a request, and parameters of its URL, whose values are no secrets, in lower case. Of all others only the
-- name is shown.
local harmless = "accept api-version audience client-request-id client_id content-type metadata "
  .. "object_id resource retry-attempt user-agent"

local function is_harmless(name)
  return (" " .. harmless .. " "):find(" " .. name:lower() .. " ", 1, true) ~= nil
end

local function sorted_names(headers)
  local names = {}
  for name in pairs(headers) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

--- Returns the texts that no line about the answer may contain: the values of the request's secret headers, of its
-- URL's parameters and of its form, and the tokens in the answer.
local function secrets_of(request, response)
  local secrets = {}
  for token in (response and response.body or ""):gmatch '_token"%s*:%s*"([^"]*)' do
    secrets[#secrets + 1] = token
  end
  for name, value in pairs(request.headers or {}) do
    secrets[#secrets + 1] = not is_harmless(name) and value:match "%S+$" or nil
  end
  for value in (request.url .. "&" .. (request.body or "")):gmatch "=([^&]*)" do
    secrets[#secrets + 1] = url_parts.percent_decoded(value)
  end
  return secrets
end

local phases = { "name_lookup", "connect", "tls", "first_byte", "total" }

--- Lists the time at which each phase of a request ended. Phases that were not needed, such as TLS on a reused
-- connection, are left out.
local function times_of(timings)
  local times = {}
  for _, phase in ipairs(phases) do
    local seconds = timings[phase]
    times[#times + 1] = seconds and seconds > 0 and ("%s %.3f s"):format(phase, seconds) or nil
  end
  return table.concat(times, ", "):gsub("_", " ")
end

--- Returns a request's URL without user and password, and with the values of its parameters hidden unless they are
-- harmless.
local function without_secrets(url)
  local place, parameters = url:match "^([^?]*)(.*)$"
  local origin, path = place:match "^(%a[%w+.-]*://[^/]*)(.*)$"
  parameters = parameters:gsub("([^?&=]*)=([^&]*)", function(name, value)
    return name .. "=" .. (is_harmless(name) and value or "[hidden]")
  end)
  return (origin and url_parts.without_user(origin) .. path or place) .. parameters
end

--- Emits lines about the connection, from what libcurl reports: proxy, address, and for a new connection TLS version
-- and issuer of the certificate.
local function emit_connection(emit, client, text)
  local facts = {}
  for name, value in text:gmatch "([%w ]+):([^%z]*)%z" do
    facts[name] = facts[name] or client:clean(value, 200) -- the first certificate is the server's
  end
  local variable, issuer = facts["Proxy"], facts["Issuer"]
  if variable then
    emit("* proxy %s, named by %s", url_parts.without_user(os.getenv(variable) or ""), variable)
  end
  if facts["Address"] then
    local is_new = facts["Connection"] == "new"
    local how = is_new and "a new connection" or "the connection of an earlier request"
    emit("* connected to %s, %s", facts["Address"], how)
  end
  if facts["TLS"] or issuer then
    local certificate = issuer and ", certificate issued by " .. issuer or ""
    emit("* %s%s", facts["TLS"] or "TLS", certificate)
  end
end

--- Emits the lines about a request.
local function emit_request(emit, client, request)
  local proxy = client.options.http.proxy
  if proxy and proxy ~= "" then
    emit("* proxy %s", url_parts.without_user(proxy))
  end
  emit("> %s %s", request.method, without_secrets(request.url))
  for _, name in ipairs(sorted_names(request.headers or {})) do
    emit("> %s: %s", name, is_harmless(name) and request.headers[name] or "[hidden]")
  end
end

--- Emits the lines about the answer to a request, or about the network's failure.
local function emit_answer(emit, client, request, response, network)
  local clean = redact.prepare(secrets_of(request, response))
  local facts = (response or network or {}).facts
  if facts then
    emit_connection(emit, client, facts)
  end
  if response then
    emit("< HTTP/%s %s", response.http_version or "?", response.status)
    local headers = response.headers or {}
    for _, name in ipairs(sorted_names(headers)) do
      local is_hidden = name:lower():find "cookie" or name:lower():find "^auth"
      local value = client:clean(tostring(headers[name])) or ""
      emit("< %s: %s", name, is_hidden and "[hidden]" or clean(value))
    end
    local times = response.timings and times_of(response.timings) or ""
    if times ~= "" then
      emit("* %s", times)
    end
  end
  if network then
    local message = clean(client:clean(tostring(network.message)) or "")
    emit("* %s failed (%s): %s", network.stage, network.name, message)
  end
end

--- Emits the lines about a request. Returns a function that emits those about its answer. Neither raises an error,
-- even if the user's token provider made a malformed request, or the user's transport returned a malformed answer.
---@return fun(response: autopilot.HttpResponse?, network: autopilot.NetworkFailure?) ended
function trace.begin(client, request)
  local function emit(form, ...)
    client:emit("trace", { text = form:format(...) })
  end
  protected_call(emit_request, emit, client, request)
  return function(response, network)
    protected_call(emit_answer, emit, client, request, response, network)
  end
end

--- Returns a transport for token requests that traces each request and its answer.
---@param transport fun(request: autopilot.HttpRequest): autopilot.HttpResponse?, autopilot.NetworkFailure?
function trace.wrap(client, transport)
  local is_ours = type(transport) == "table" and transport.prepare
  return function(request)
    local ended = trace.begin(client, request)
    local response, network = transport(is_ours and merged(request, { facts = true }) or request)
    ended(response, network)
    return response, network
  end
end

return trace
