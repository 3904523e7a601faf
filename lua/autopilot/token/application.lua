--- Signs an application in (OAuth 2.0 client credentials, RFC 6749 section 4.4). It proves to Entra who it is with its
-- secret, or with an assertion (RFC 7523 section 2.2), which it signs with the key of its certificate or gets from its
-- platform (Microsoft Entra, "Workload identity federation").

local authority = require "autopilot.token.authority"
local base64url = require "autopilot.base.base64url"
local core = require "autopilot.core"
local endpoint = require "autopilot.token.endpoint"
local json = require "autopilot.base.json"
local lazy = require "autopilot.base.lazy"
local merged = require "autopilot.base.merged"
local provider = require "autopilot.token.provider"
local secret_file = require "autopilot.token.secret_file"

local key_pair = lazy "autopilot.token.key_pair"

local need = provider.need

local application = {}

-- ---- By secret ---------------------------------------------------------------------------------------

local function check_secret(value)
  if value == "" then
    return "must not be empty"
  elseif type(value) == "string" and value:find "%c" then
    local is_end = value:find "^%C+[\r\n]+$"
    return "must not contain control characters" .. (is_end and ": a line end follows it" or "")
  end
end

local allow_world_readable = { type = "boolean", default = false }

---@type table<string, autopilot.OptionRule>
application.secret_rules = {
  client_secret = { type = { "string", "function" }, secret = true, check = check_secret },
  client_secret_file = { type = "string" },
  allow_world_readable = allow_world_readable,
}

local function by_secret(checked)
  local secret, path = checked.client_secret, checked.client_secret_file
  return function(ask)
    secret = secret or need(secret_file.read_line(path, checked.allow_world_readable))
    return { client_secret = provider.ask_user("client_secret", secret, ask, check_secret) }
  end
end

-- ---- By certificate ----------------------------------------------------------------------------------

--- Returns the form fields that contain an assertion.
local function form_of(assertion)
  return {
    client_assertion = assertion,
    client_assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
  }
end

-- Seconds for which an assertion is valid: it is made for one request.
local lifetime = 600

--- Makes and signs an assertion for one request (RFC 7519; Microsoft identity platform, "Certificate credentials").
local function sign_assertion(pair, checked, place, now)
  local _, expires = pair.certificate:getLifetime()
  need(now < expires, "the certificate has expired: upload a new one to the app registration")
  local begins = math.floor(now)
  local header = json.encode {
    alg = "PS256",
    typ = "JWT",
    ["x5t#S256"] = base64url.encode(pair.certificate:digest("sha256", "s")),
  }
  local claims = json.encode {
    aud = authority.url(place),
    iss = checked.client_id,
    sub = checked.client_id,
    jti = core.uuid(),
    nbf = begins,
    exp = begins + lifetime,
  }
  local text = base64url.encode(header) .. "." .. base64url.encode(claims)
  return text .. "." .. base64url.encode(pair.sign(text))
end

-- Error messages never quote the value, because PEM text may be a private key.
local function check_place(value)
  return value == "" and "must be PEM text or a file name" or nil
end

---@type table<string, autopilot.OptionRule>
application.certificate_rules = {
  certificate = { type = "string", required = true, secret = true, check = check_place },
  private_key = { type = "string", secret = true, check = check_place },
  passphrase = { type = { "string", "function" }, secret = true },
  allow_world_readable = allow_world_readable,
}

local function by_certificate(checked)
  local pair
  return function(ask, place)
    pair = pair or key_pair(checked)
    return form_of(sign_assertion(pair, checked, place, ask.now()))
  end
end

-- ---- By either -----------------------------------------------------------------------------------------

--- Returns the fields of a token request's form that prove the identity; called for each request.
---@alias autopilot.token.Prove fun(ask: autopilot.TokenAsk, place: autopilot.token.Place): table<string, string>

--- How the application proves its identity: by its secret or its certificate.
---@param checked table its options
---@return autopilot.token.Prove? prove
---@return string? mistake in the options; nil with neither secret nor certificate
function application.proof_of(checked)
  local secret = checked.client_secret or checked.client_secret_file
  local certificate, key = checked.certificate, checked.private_key
  if checked.client_secret and checked.client_secret_file then
    return nil, "takes only one of the options 'client_secret' and 'client_secret_file'"
  elseif secret and certificate then
    return nil, "takes a secret or a certificate, and not both"
  elseif not certificate and (key or checked.passphrase) then
    local option = key and "private_key" or "passphrase"
    return nil, ("option '%s' needs the option 'certificate'"):format(option)
  end
  return certificate and by_certificate(checked) or secret and by_secret(checked) or nil
end

--- Makes a function of `autopilot.token`, which makes providers for an application with this kind of proof.
local function by_proof(name, rules)
  rules = authority.rules(rules, { client_id = authority.required_client_id })
  return provider.kind(name, rules, function(checked)
    local prove, mistake = application.proof_of(checked)
    if not prove then
      return nil, mistake or "needs one of the options 'client_secret' and 'client_secret_file'"
    end
    return function(ask)
      return authority.request(ask, authority.find(checked, ask), nil, prove)
    end
  end)
end

---@class autopilot.token.ClientSecretOptions: autopilot.token.CommonOptions
---@field client_id string
---@field client_secret (string|fun(ask: autopilot.TokenAsk): string?, string?)? the secret, or a function that is asked for it at each request
---@field client_secret_file string? a file that holds nothing else; read once
---@field allow_world_readable boolean? take a file that every user can read; default false

application.client_secret = by_proof("client_secret", application.secret_rules)

---@class autopilot.token.ClientCertificateOptions: autopilot.token.CommonOptions
---@field client_id string
---@field certificate string PEM text, or the name of a file that holds it or is a PFX file; read once
---@field private_key string? PEM text or file name; default: it is in the text of the certificate
---@field passphrase (string|fun(): string?, string?)? of an encrypted key; a function is called when the key is read
---@field allow_world_readable boolean? take a key file that every user can read; default false

application.client_certificate = by_proof("client_certificate", application.certificate_rules)

-- ---- By assertion of a platform ------------------------------------------------------------------------

-- The AADSTS number of an assertion that has expired, or is not valid yet.
local not_within_its_time = "700024"

--- Makes a function of `autopilot.token`, which makes providers for one platform. An assertion lives for minutes, so
-- the platform is asked for one at each request.
---@param name string of the function of `autopilot.token`
---@param own table<string, autopilot.OptionRule> its options, besides the common ones
--- `get` returns an assertion, and the place it was read from if the platform is to renew it there. `setting`
-- returns the value of an option, or of a variable of the platform, and ends the sign-in with an error if it is not
-- set; `remedy` says what makes the platform set the variable. `variable` returns the value of any variable.
---@param get fun(ask: autopilot.TokenAsk, setting: fun(name: string, remedy: string?): any, variable: fun(name: string): string?): string, string?
---@return fun(given: table?, level: integer?): autopilot.TokenProvider new
local function by_assertion(name, own, get)
  local rules, title = authority.rules(own), name:gsub("_", " ")
  return provider.kind(name, rules, function(checked)
    local variable = authority.environment(checked)
    local function setting(wanted, remedy)
      local rule = rules[wanted]
      local from = rule and rule.variable or wanted
      local value = checked[wanted] or variable(from)
      remedy = rule and ("set %s or the option %s"):format(from, wanted)
        or remedy and ("%s is missing: %s"):format(from, remedy)
        or "set " .. from
      return need(value, ("%s is not set up: %s"):format(title, remedy))
    end
    return function(ask)
      local fallback = { client_id = setting "client_id", tenant = variable(rules.tenant.variable) }
      local place, origin = authority.find(checked, ask, fallback), nil
      local token, expires_in, extra = authority.request(ask, place, nil, function()
        local text
        text, origin = get(ask, setting, variable)
        local is_right = type(text) == "string" and text:find "^[\33-\126]+$"
        return form_of(need(is_right and text, title .. " gave no token that can be used"))
      end)
      if extra.reason == not_within_its_time and origin then
        extra.hint = (
          "The token in %s is not within its time: see that the platform renews it, and "
          .. "check this machine's clock."
        ):format(origin)
      end
      return token, expires_in, extra
    end
  end)
end

---@class autopilot.token.ClientAssertionOptions: autopilot.token.CommonOptions
---@field client_id string
---@field assertion (string|fun(ask: autopilot.TokenAsk): string?, string?) a function that is asked at each request; or a variable's name
---@field tenant string? default: that of the client, else AZURE_TENANT_ID

-- An assertion of any platform: a function of the user gets it, or the platform puts it into an environment
-- variable, as GitLab does.
application.client_assertion = by_assertion("client_assertion", {
  client_id = authority.required_client_id,
  assertion = {
    type = { "string", "function" },
    required = true,
    secret = true, -- an assertion may be given by mistake
    check = function(value)
      local is_name = type(value) ~= "string" or value:find "^[%a_][%w_]*$" and #value <= 100
      return not is_name and "must be a function, or the name of an environment variable" or nil
    end,
  },
}, function(ask, setting, variable)
  local source = setting "assertion"
  if type(source) == "string" then
    return need(variable(source), "client assertion is not set up: set " .. source), source
  end
  return provider.ask_user("assertion", source, ask)
end)

---@class autopilot.token.WorkloadIdentityOptions: autopilot.token.CommonOptions
---@field token_file string? default: AZURE_FEDERATED_TOKEN_FILE
---@field client_id string? default: AZURE_CLIENT_ID
---@field tenant string? default: that of the client, else AZURE_TENANT_ID

-- The token of a platform such as Kubernetes, in a file that the platform renews. Platforms mount the file readable
-- within the container, which has one user.
application.workload_identity = by_assertion("workload_identity", {
  token_file = { type = "string", variable = "AZURE_FEDERATED_TOKEN_FILE" },
}, function(_, setting)
  local path = setting "token_file"
  return need(secret_file.read_line(path, true)), secret_file.printable(path)
end)

---@class autopilot.token.GithubActionsOptions: autopilot.token.CommonOptions
---@field client_id string? default: AZURE_CLIENT_ID
---@field tenant string? default: that of the client, else AZURE_TENANT_ID
---@field audience string? that the federated credential wants; default `api://AzureADTokenExchange`

local github_remedy = "give the workflow the permission id-token: write"

-- The token that GitHub gives to a job ("Configuring OpenID Connect in Azure").
application.github_actions = by_assertion("github_actions", {
  audience = { type = "string", default = "api://AzureADTokenExchange" },
}, function(ask, setting)
  local address, key = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
  local secret = endpoint.secret(key, setting(key, github_remedy))
  local object = need(endpoint.request(ask, {
    source = "GitHub Actions",
    setting = address,
    url = endpoint.url(address, setting(address, github_remedy)),
    query = { audience = setting "audience" },
    headers = { Accept = "application/json", Authorization = "Bearer " .. secret },
    secrets = { secret },
  }))
  return object.value
end)

---@class autopilot.token.AzurePipelinesOptions: autopilot.token.CommonOptions
---@field service_connection_id string? default: AZURESUBSCRIPTION_SERVICE_CONNECTION_ID
---@field client_id string? default: AZURESUBSCRIPTION_CLIENT_ID
---@field tenant string? default: that of the client, else AZURESUBSCRIPTION_TENANT_ID

-- The service connection of a job of Azure Pipelines ("Connect to Azure with an Azure Resource Manager service
-- connection"). The tasks AzureCLI and AzurePowerShell set the variables of its options; SYSTEM_ACCESSTOKEN is set
-- where the job maps it from $(System.AccessToken).
application.azure_pipelines = by_assertion("azure_pipelines", {
  service_connection_id = {
    type = "string",
    variable = "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
  },
  client_id = merged(authority.common.client_id, { variable = "AZURESUBSCRIPTION_CLIENT_ID" }),
  tenant = merged(authority.common.tenant, { variable = "AZURESUBSCRIPTION_TENANT_ID" }),
}, function(ask, setting)
  local address, key = "SYSTEM_OIDCREQUESTURI", "SYSTEM_ACCESSTOKEN"
  local secret = endpoint.secret(key, setting(key))
  local object = need(endpoint.request(ask, {
    source = "Azure Pipelines",
    setting = address,
    url = endpoint.url(address, setting(address)),
    query = {
      ["api-version"] = "7.1",
      serviceConnectionId = setting "service_connection_id",
    },
    form = {}, -- a POST without a body
    headers = {
      Accept = "application/json",
      Authorization = "Bearer " .. secret,
      ["Content-Type"] = "application/json",
      ["X-TFS-FedAuthRedirect"] = "Suppress", -- refuse by a status and not by a redirect
    },
    secrets = { secret },
  }))
  return object.oidcToken
end)

return application
