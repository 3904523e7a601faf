--- Signs in as the machine itself: with the managed identity that Azure has given to it.
--
-- The environment shows which platform the machine is on; where it does not, the program of Azure Arc's agent may.
-- The token is always for the machine's own tenant, even if the client's `tenant` is another, so a fleet of several
-- tenants is refused. Few platforms can be asked to replace the token that they keep.

local authority = require "autopilot.token.authority"
local core = require "autopilot.core"
local endpoint = require "autopilot.token.endpoint"
local merged = require "autopilot.base.merged"
local provider = require "autopilot.token.provider"
local secret_file = require "autopilot.token.secret_file"

local fail, need = provider.fail, provider.need

---@class autopilot.token.ManagedIdentityOptions
---@field client_id string? of a user-assigned identity; at most one of the three
---@field resource_id string?
---@field object_id string?
---@field scope string? default: that of the client
---@field probe number? seconds in which a metadata service must answer; default: 1 in a chain, else it is not tried before
---@field getenv (fun(name: string): string?)? default `os.getenv`

local rules = {
  scope = authority.common.scope,
  getenv = authority.common.getenv,
  probe = { type = "number", above = 0, max = 60 },
}

-- The options that choose an identity. At most one may be given.
local identity_options = { "client_id", "resource_id", "object_id" }
for _, option in ipairs(identity_options) do
  rules[option] = authority.common.client_id
end

-- ---- Azure Arc ---------------------------------------------------------------------------------------
--
-- The agent's first answer names a file with a key, and the second request contains that key. Only users who may
-- have a token can read the file. If the answer names a file outside the agent's own folder, it is not read.

local longest_key = 4096 -- bytes

--- A path of the agent: on Unix, or on Windows in the folder that a variable names; nil without that variable.
local function agent_path(variable, on_unix, folder, on_windows)
  if package.config:sub(1, 1) ~= "\\" then
    return on_unix
  end
  local parent = variable(folder)
  return parent and parent:gsub("[\\/]+$", "") .. "\\AzureConnectedMachineAgent\\" .. on_windows
end

--- Whether the agent is installed. Its variables are set for services only, and not for a login or a cron job.
local function has_arc(variable)
  local program = agent_path(variable, "/opt/azcmagent/bin/himds", "ProgramFiles", "himds.exe")
  return program and core.file_kind(program, true) == "file"
end

--- The key in the file that the header of a challenge names.
local function key_for(challenge, variable)
  local realm = tostring(challenge):match '^%s*[Bb]asic%s+[Rr]ealm="?(.-)"?%s*$'
  local folder = realm
    and agent_path(variable, "/var/opt/azcmagent/tokens/", "ProgramData", "Tokens\\")
  local start = folder and realm:sub(1, #folder)
  local is_inside = start == folder or (folder:find "^%a:" and start:lower() == folder:lower())
  -- A name in the folder itself: without separator, colon (a device or stream) or leading dot.
  local file = start and is_inside and realm:match("^[%w_-][%w_.-]*%.key$", #folder + 1)
  need(file and #file <= 255, "Azure Arc's challenge does not name a key file in its own folder")
  local text = secret_file.read(folder .. file, true)
  local key = text and #text <= longest_key and text:match "^%s*([\33-\126]+)%s*$"
  return need(
    key,
    "Azure Arc's key file cannot be read as a key of at most 4096 bytes: run as root or a member "
      .. "of the group himds (Linux), or as an administrator or member of 'Hybrid agent extension "
      .. "applications' (Windows)"
  )
end

--- Sends a request as `endpoint.request` does, and once more with the key when the agent challenges it.
local function ask_arc(ask, request, checked)
  local object, message, details, answer = endpoint.request(ask, request)
  if not answer or answer.status ~= 401 then
    return object, message, details
  end
  local key = key_for(answer.headers["www-authenticate"], checked.variable)
  local headers = merged(request.headers, { Authorization = "Basic " .. key })
  return endpoint.request(ask, merged(request, { headers = headers, secrets = { key } }))
end

-- ---- The metadata service of a virtual machine -------------------------------------------------------

-- Seconds before each further attempt.
local waits = { 1, 2, 4, 8 }
-- A service that is being replaced (410) is back after 70 s at most: seconds between the attempts, and their number.
local wait_while_gone, attempts_while_gone = 10, 7

-- Seconds. A Retry-After above this ends the attempts.
local longest_wait = 30

local function fail_without_service(request, is_transient)
  fail("there is no managed identity: no metadata service of Azure answers at " .. request.url, {
    is_transient = is_transient,
    hint = "Sign in another way, or run this in Azure with a managed identity assigned.",
  })
end

--- Whether Azure's service answers there within so many seconds. It answers 400 to a request without the header.
-- Services of other clouds, and relays for containers without a service behind them, answer 401 or 403.
local function answers(ask, request, seconds)
  local object, _, _, answer = endpoint.request(ask, {
    url = request.url,
    query = { ["api-version"] = request.query["api-version"] },
    headers = {},
    timeout = { connect = seconds, total = seconds },
  })
  return object or answer and answer.status ~= 401 and answer.status ~= 403
end

--- Adds what its status means to the details of a refusal. Returns the seconds to wait before the next attempt; nil
-- when there should be none.
local function wait_after(attempt, answer, message, details)
  local status, planned = answer.status, waits[attempt]
  if status == 400 and message:lower():find("identity not found", 1, true) then
    details.hint = "Assign a managed identity to this machine; with several, or one that is only "
      .. "assigned by the user, set client_id."
  elseif status == 410 then
    planned = attempt <= attempts_while_gone and wait_while_gone
  end
  details.is_transient = details.is_transient or status == 404 or status == 410
  local told = answer.headers["retry-after"] and details.retry_after or 0
  local is_useful = details.is_transient and planned and told <= longest_wait
  return is_useful and math.max(planned, told) or nil
end

--- Sends a request until it succeeds or another attempt is of no use. With a `probe`, of the options or of
-- a chain, a machine outside Azure is recognized within that many seconds.
local function ask_metadata_service(ask, request, checked)
  local probe = checked.probe or ask.probe
  if probe and not checked.has_answered then
    checked.has_answered = answers(ask, request, probe) or fail_without_service(request, false)
  end
  for attempt = 1, math.huge do
    local object, message, details, answer = endpoint.request(ask, request)
    if not (checked.has_answered or object or answer) then
      fail_without_service(request, true)
    end
    checked.has_answered = true
    local seconds = answer and wait_after(attempt, answer, message, details)
    if not seconds or not provider.pause(ask, seconds) then
      return object, message, details
    end
  end
end

-- ---- The platforms -----------------------------------------------------------------------------------

-- In the order in which Microsoft's libraries look for them. The fields of each:
--   address           the environment variable that holds the endpoint's address
--   default_address   the address where the variables do not show a platform, and `is_there`, if there is one, says
--                     that the machine is on this one
--   path              is added to the address
--   key               the variable whose value proves who asks, and `header`, in which it is sent
--   sign              another variable that is set on this platform
--   is_local          http goes to loopback addresses only
--   version           of its interface
--   identities        parameters that choose an identity, by the provider's option
--   default_identity  the variable that holds a client id to choose without such an option
--   is_form           the parameters are sent as a form
--   takes_refused     it can be told which token was refused, and drops that from its cache
--   send              sends a request, as `endpoint.request`, where more than one request may be needed
-- The address and, if there is one, the key and the sign identify the platform.
local platforms = {
  -- "Leverage a Service Fabric application's managed identity". Its endpoint has a certificate that the
  -- cluster made itself; other libraries recognize it by its thumbprint. Here it is checked like any other
  -- certificate, before the request with the secret header is sent. Which identity an application has is
  -- set where it is deployed.
  {
    name = "Service Fabric",
    address = "IDENTITY_ENDPOINT",
    key = "IDENTITY_HEADER",
    header = "Secret",
    sign = "IDENTITY_SERVER_THUMBPRINT",
    is_local = true,
    version = "2019-07-01-preview",
    takes_refused = true,
    tls_hint = "The endpoint's certificate must be trusted: give that of the cluster to the "
      .. "client's http.ca_file; it must name the host of IDENTITY_ENDPOINT.",
  },
  -- App Service, Functions, Container Apps and Automation (App Service, "REST endpoint reference"). Azure
  -- Automation needs the header Metadata.
  {
    name = "App Service",
    address = "IDENTITY_ENDPOINT",
    key = "IDENTITY_HEADER",
    header = "X-IDENTITY-HEADER",
    version = "2019-08-01",
    identities = { client_id = "client_id", resource_id = "mi_res_id", object_id = "object_id" },
    headers = { Metadata = "true" },
    takes_refused = true,
  },
  -- The endpoint of Machine Learning's compute, in the version of 2017, which knows no other ids.
  {
    name = "Azure Machine Learning",
    address = "MSI_ENDPOINT",
    key = "MSI_SECRET",
    header = "secret",
    version = "2017-09-01",
    identities = { client_id = "clientid" },
    default_identity = "DEFAULT_IDENTITY_CLIENT_ID",
  },
  -- A machine outside Azure with Azure's agent (Arc-enabled servers, "managed identity").
  {
    name = "Azure Arc",
    address = "IDENTITY_ENDPOINT",
    sign = "IMDS_ENDPOINT",
    default_address = "http://localhost:40342/metadata/identity/oauth2/token",
    is_there = has_arc,
    is_local = true,
    version = "2020-06-01",
    headers = { Metadata = "true" },
    send = ask_arc,
  },
  -- The token is that of the person whose shell it is.
  {
    name = "Cloud Shell",
    address = "MSI_ENDPOINT",
    is_local = true,
    headers = { Metadata = "true" },
    is_form = true,
  },
  -- The Azure Instance Metadata Service ("use managed identities on a virtual machine to acquire access token").
  {
    name = "the virtual machine",
    address = "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    default_address = "http://169.254.169.254",
    path = "/metadata/identity/oauth2/token",
    version = "2018-02-01",
    identities = { client_id = "client_id", resource_id = "msi_res_id", object_id = "object_id" },
    headers = { Metadata = "true" },
    send = ask_metadata_service,
  },
}

--- The platform of the machine and its address: a virtual machine, unless something shows another.
local function detect(variable)
  for _, platform in ipairs(platforms) do
    local address = variable(platform.address)
    if
      address
      and variable(platform.key or platform.address)
      and variable(platform.sign or platform.address)
    then
      return platform, address
    elseif platform.default_address and (not platform.is_there or platform.is_there(variable)) then
      return platform, platform.default_address
    end
  end
end

--- Sets the parameters that say which token was refused after a claims challenge, as MSAL does: the
-- hash of the token, and that this client understands claims challenges. The hash needs luaossl.
local function add_refused(refused, parameters)
  parameters.xms_cc = "cp1"
  local openssl = provider.luaossl "digest"
  if openssl then
    local hash = openssl.digest.new("sha256"):final(refused)
    parameters.token_sha256_to_refresh = hash:gsub(".", function(byte)
      return ("%02x"):format(byte:byte())
    end)
  end
end

--- The parameters of a request.
local function parameters_of(platform, ask, checked)
  local resource = authority.scope(checked, ask):gsub("/%.default$", "")
  local parameters = { resource = resource, ["api-version"] = platform.version }
  local identities, option = platform.identities or {}, checked.chosen_by
  if platform.default_identity then
    parameters[identities.client_id] = checked.variable(platform.default_identity)
  end
  if option then
    local message = "%s has no identity that is chosen by %s"
    local name = need(identities[option], message:format(platform.name, option))
    parameters[name] = checked[option]
  end
  if platform.takes_refused and ask.claims and ask.refused then
    add_refused(ask.refused, parameters)
  end
  return parameters
end

--- The request for a token.
local function request_of(platform, address, ask, checked)
  local setting, path = platform.address, platform.path
  local url = endpoint.url(setting, address, not platform.is_local)
  need(not path or not url:find("?", 1, true), setting .. " must have no query")
  local parameters = parameters_of(platform, ask, checked)
  local secret = platform.key and endpoint.secret(platform.key, checked.variable(platform.key))
  return {
    source = "managed identity of " .. platform.name,
    setting = setting,
    tls_hint = platform.tls_hint,
    url = path and url:gsub("/+$", "") .. path or url,
    headers = merged(platform.headers, secret and { [platform.header] = secret }),
    [platform.is_form and "form" or "query"] = parameters,
    timeout = { connect = 5, total = 30 }, -- it is near: if it exists, it accepts a connection at once
    secrets = { secret },
  }
end

return provider.kind("managed_identity", rules, function(checked)
  for _, option in ipairs(identity_options) do
    if checked[option] and checked.chosen_by then
      return nil, "takes one of 'client_id', 'resource_id' and 'object_id'"
    end
    checked.chosen_by = checked[option] and option or checked.chosen_by
  end
  checked.variable = authority.environment(checked)
  return function(ask)
    if ask.has_several then
      local message = "a managed identity signs in to the machine's own tenant only, and there "
        .. "are several"
      fail(message, { code = "TenantMismatch" })
    end
    local platform, address = detect(checked.variable)
    local request = request_of(platform, address, ask, checked)
    local object, message, details = (platform.send or endpoint.request)(ask, request, checked)
    local whose = request.source .. ": the token endpoint's answer"
    return endpoint.read_token(need(object, message, details), ask.now(), whose)
  end
end)
