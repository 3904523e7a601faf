--- An emulator of Graph in this process: with one valid token, from a known start time.

local cjson = require "cjson.safe"
local emulator = require "autopilot.emulator"
local endpoint = require "autopilot.token.endpoint"

local emulated_graph = {}

emulated_graph.settings_url =
  "https://graph.microsoft.com/beta/deviceManagement/windowsAutopilotSettings"

--- When its clock begins: 2026-01-01T00:00:00Z.
emulated_graph.start = 1767225600

--- A request for a sync with the good token.
---@param total number? seconds that the client waits
---@param id string? the client-request-id
function emulated_graph.sync_request(total, id)
  return {
    method = "POST",
    url = emulated_graph.settings_url .. "/sync",
    headers = { Authorization = "Bearer good", ["client-request-id"] = id },
    timeout = { connect = 10, total = total or 60 },
  }
end

--- A read of the status with the good token.
emulated_graph.status_request = {
  method = "GET",
  url = emulated_graph.settings_url,
  headers = { Authorization = "Bearer good" },
}

---@param given table? options of the emulator; without `tokens` there is one, "good", for "contoso"
---@return autopilot.Emulator service
---@return function transport
function emulated_graph.new(given)
  given = given or {}
  given.tokens = given.tokens or { good = { tenant = "contoso", client_id = "app" } }
  local service = emulator.new(given)
  return service, service:transport()
end

--- The same with functions that ask it: `ask`, and for what is asked most `sync`, `status` and `record`.
---@param given table? options of the emulator
---@return table service with `emulator`
function emulated_graph.asked(given)
  local service = {}
  local transport
  service.emulator, transport = emulated_graph.new(given)

  function service.ask(method, url, token, headers)
    headers = headers or {}
    headers.Authorization = token and "Bearer " .. token
    return transport { method = method, url = url, headers = headers, timeout = { total = 60 } }
  end
  function service.sync(token)
    return service.ask("POST", emulated_graph.settings_url .. "/sync", token or "good")
  end
  function service.status(token)
    return service.ask("GET", emulated_graph.settings_url, token or "good")
  end
  function service.record(token)
    return cjson.decode(service.status(token).body)
  end
  return service
end

--- Posts a form to one of a tenant's endpoints: the decoded answer and its status.
---@param name string of the endpoint, `token` or `devicecode`
---@param fields table<string, string>
---@param tenant string? default `contoso`
function emulated_graph.post(service, name, fields, tenant)
  local response = service:handle {
    method = "POST",
    url = ("https://login.microsoftonline.com/%s/oauth2/v2.0/%s"):format(tenant or "contoso", name),
    body = endpoint.encode_form(fields),
  }
  return cjson.decode(response.body), response.status
end

--- Asks for a sync with a token.
function emulated_graph.sync(service, token)
  return service:handle {
    method = "POST",
    url = emulated_graph.settings_url .. "/sync",
    headers = { Authorization = "Bearer " .. token },
  }
end

--- The events of one kind in its log.
function emulated_graph.events(service, name)
  local found = {}
  for _, event in ipairs(service.log) do
    if event.event == name then
      found[#found + 1] = event
    end
  end
  return found
end

--- The error of a Graph body, and what Intune has put into its message.
function emulated_graph.error_of(response)
  local body = assert(cjson.decode(response.body))
  return body.error, cjson.decode(body.error.message)
end

return emulated_graph
