--- Every way to sign in, with a secret that can be recognized in any output.

local azure_pipelines = require("autopilot.token.application").azure_pipelines
local cached = require "autopilot.token.cached"
local chain = require "autopilot.token.chain"
local client_assertion = require("autopilot.token.application").client_assertion
local client_certificate = require("autopilot.token.application").client_certificate
local client_secret = require("autopilot.token.application").client_secret
local default = require("autopilot.token.environment").default
local device_code = require "autopilot.token.device_code"
local environment = require("autopilot.token.environment").environment
local files = require "support.files"
local github_actions = require("autopilot.token.application").github_actions
local key_files = require "support.key_files"
local managed_identity = require "autopilot.token.managed_identity"
local refresh_token = require "autopilot.token.refresh_token"
local token_world = require "support.token_world"
local workload_identity = require("autopilot.token.application").workload_identity

local secret_sign_ins = {}

---@class support.SignIn
---@field provider autopilot.TokenProvider
---@field secret_of fun(request: table): string? what of a request is secret; nil: it has nothing
---@field answer (fun(request: table): table?)? for requests before the one with the secret
---@field more string[]? further secrets, which are never sent

local marked = "4f6c1d0e9a7b"
local secret = "h~u s+h/=&%hush-" .. marked
local line = "hush-" .. marked -- where no blanks may be
local getenv = token_world.getenv {}

local offer = token_world.answer(200, {
  device_code = "device-" .. marked,
  user_code = "A",
  verification_uri = "https://x.test",
})

local open = io.open
local folder, path, remove, key_path, remove_key

local function form_field(name)
  return function(request)
    return request.body and token_world.form(request.body)[name]
  end
end

local function header(name)
  return function(request)
    return request.headers[name]
  end
end

--- What stands behind the scheme of the header `Authorization`.
local function credentials(request)
  local value = request.headers["Authorization"]
  return value and value:match "^%a+ (.*)$"
end

local function with_environment(variables)
  return managed_identity { getenv = token_world.getenv(variables) }
end

local secret_environment = token_world.getenv {
  AZURE_CLIENT_ID = "app",
  AZURE_CLIENT_SECRET = secret,
}

local ways = {
  client_secret = function()
    local provider = client_secret { client_id = "app", client_secret = secret, getenv = getenv }
    return { provider = provider, secret_of = form_field "client_secret" }
  end,
  client_secret_file = function()
    local provider = client_secret { client_id = "app", client_secret_file = path, getenv = getenv }
    return { provider = provider, secret_of = form_field "client_secret" }
  end,
  cached = function()
    local provider = client_secret { client_id = "app", client_secret = secret, getenv = getenv }
    return { provider = cached(provider), secret_of = form_field "client_secret" }
  end,
  chain = function()
    local provider = client_secret { client_id = "app", client_secret = secret, getenv = getenv }
    local failing = function()
      error("no sign-in, Bearer eyJ0eXAiOiJKV1QifQ.eyJ0aWQiOiJjb250b3NvIn0." .. marked)
    end
    return { provider = chain { failing, provider }, secret_of = form_field "client_secret" }
  end,
  environment = function()
    local provider = environment { getenv = secret_environment }
    return { provider = provider, secret_of = form_field "client_secret" }
  end,
  default = function()
    local variables = { MSI_ENDPOINT = "http://localhost:1/" }
    local provider = default {
      scope = "https://graph.microsoft.com/no shell",
      getenv = function(name)
        return secret_environment(name) or variables[name]
      end,
    }
    return { provider = provider, secret_of = form_field "client_secret" }
  end,
  workload_identity = function()
    local provider = workload_identity { client_id = "app", token_file = path, getenv = getenv }
    return { provider = provider, secret_of = form_field "client_assertion" }
  end,
  client_assertion = function()
    local variables = token_world.getenv { CI_TOKEN = line }
    local provider =
      client_assertion { client_id = "app", assertion = "CI_TOKEN", getenv = variables }
    return { provider = provider, secret_of = form_field "client_assertion" }
  end,
  ["refresh_token, the token"] = function()
    local provider = refresh_token {
      client_id = "app",
      refresh_token = line,
      client_secret = secret,
      getenv = getenv,
    }
    return { provider = provider, secret_of = form_field "refresh_token" }
  end,
  ["refresh_token, the secret"] = function()
    local provider = refresh_token {
      client_id = "app",
      refresh_token = "refresh-" .. marked,
      client_secret = secret,
      getenv = getenv,
    }
    return { provider = provider, secret_of = form_field "client_secret" }
  end,
  ["github_actions, its assertion"] = function()
    local variables = {
      ACTIONS_ID_TOKEN_REQUEST_URL = "https://actions.test/idtoken",
      ACTIONS_ID_TOKEN_REQUEST_TOKEN = "key-" .. marked,
      AZURE_CLIENT_ID = "app",
    }
    local provider = github_actions { getenv = token_world.getenv(variables) }
    return {
      provider = provider,
      secret_of = form_field "client_assertion",
      answer = function(request)
        return request.url:find "idtoken" and token_world.answer(200, { value = line })
      end,
    }
  end,
  ["azure_pipelines, its assertion"] = function()
    local variables = {
      SYSTEM_OIDCREQUESTURI = "https://dev.azure.test/oidctoken",
      SYSTEM_ACCESSTOKEN = "key-" .. marked,
      AZURESUBSCRIPTION_CLIENT_ID = "app",
      AZURESUBSCRIPTION_SERVICE_CONNECTION_ID = "connection",
    }
    local provider = azure_pipelines { getenv = token_world.getenv(variables) }
    return {
      provider = provider,
      secret_of = form_field "client_assertion",
      answer = function(request)
        return request.url:find "oidctoken" and token_world.answer(200, { oidcToken = line })
      end,
    }
  end,
  client_certificate = function()
    local provider = client_certificate {
      client_id = "app",
      certificate = folder .. "/together.pem",
      getenv = getenv,
    }
    local key = key_files.read(folder, "key.pem")
    return {
      provider = provider,
      secret_of = form_field "client_assertion",
      more = { key:match "\n(%S+)", key:match "(%S+)\n%-%-%-%-%-END" },
    }
  end,
  ["client_certificate, its key encrypted"] = function()
    local key = key_files.read(folder, "default.pem")
    local provider = client_certificate {
      client_id = "app",
      certificate = key_files.read(folder, "certificate.pem"),
      private_key = key,
      passphrase = function()
        return key_files.passphrase
      end,
      getenv = getenv,
    }
    return {
      provider = provider,
      secret_of = form_field "client_assertion",
      more = { key_files.passphrase, key:match "\n(%S+)" },
    }
  end,
  ["device_code, its code"] = function()
    local provider = device_code { client_id = "app", prompt = function() end, getenv = getenv }
    return {
      provider = provider,
      secret_of = form_field "device_code",
      answer = function()
        return offer
      end,
    }
  end,
  ["device_code, its refresh token"] = function()
    local signed_in = device_code { client_id = "app", prompt = function() end, getenv = getenv }
    -- A user has signed in before.
    local world = token_world.scripted {
      offer,
      token_world.granted { refresh_token = "refresh-" .. marked },
    }
    assert(signed_in(world.ask))
    return {
      provider = signed_in,
      secret_of = form_field "refresh_token",
      answer = function()
        return { status = 500 } -- no code for the person who must now be asked
      end,
    }
  end,
  ["managed_identity, App Service"] = function()
    local provider = with_environment {
      IDENTITY_ENDPOINT = "http://localhost:1/msi/token",
      IDENTITY_HEADER = line,
    }
    return { provider = provider, secret_of = header "X-IDENTITY-HEADER" }
  end,
  ["managed_identity, Service Fabric"] = function()
    local provider = with_environment {
      IDENTITY_ENDPOINT = "https://localhost:2377/metadata/identity/oauth2/token",
      IDENTITY_HEADER = line,
      IDENTITY_SERVER_THUMBPRINT = "AB12",
    }
    return { provider = provider, secret_of = header "Secret" }
  end,
  ["managed_identity, Azure ML"] = function()
    local provider =
      with_environment { MSI_ENDPOINT = "http://localhost:1/msi/token", MSI_SECRET = line }
    return { provider = provider, secret_of = header "secret" }
  end,
  ["managed_identity, Azure Arc"] = function()
    local provider = with_environment {
      IDENTITY_ENDPOINT = "http://localhost:40342/metadata/identity/oauth2/token",
      IMDS_ENDPOINT = "http://localhost:40342",
    }
    return {
      provider = provider,
      secret_of = credentials,
      answer = function()
        local realm = "/var/opt/azcmagent/tokens/a.key"
        return { status = 401, headers = { ["WWW-Authenticate"] = "Basic realm=" .. realm } }
      end,
    }
  end,
}

--- Makes the files that some of them read; for `setup`.
function secret_sign_ins.make_files()
  folder = key_files.make()
  path, remove = files.temporary(line)
  key_path, remove_key = files.temporary(line)
  -- The agent's folder exists only on Azure Arc machines.
  rawset(io, "open", function(name, mode)
    return open(name:find "azcmagent" and key_path or name, mode)
  end)
end

--- For `teardown`.
function secret_sign_ins.remove_files()
  rawset(io, "open", open)
  key_files.remove(folder)
  remove()
  remove_key()
end

secret_sign_ins.marked = marked
secret_sign_ins.secret = secret
secret_sign_ins.line = line

--- Each makes a sign-in of one kind.
---@type table<string, fun(): support.SignIn>
secret_sign_ins.ways = ways

return secret_sign_ins
