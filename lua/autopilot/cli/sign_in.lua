--- How the command signs in: from options and environment to a token, or a token provider.
--
-- What is missing or cannot be read is told before anything is sent. Signing in itself is left to
-- `autopilot.token`.

local input = require "autopilot.cli.input"

local sign_in = {}

-- Bytes. Access tokens have a few thousand; what is longer is something else.
local longest = 64 * 1024

--- The values of `--auth`, in the order of the help.
sign_in.ways = { "secret", "certificate", "workload", "managed", "cli", "device", "env", "default" }

-- Options that name a file, and the way to sign in that each implies.
local file_options = {
  { name = "client_secret_file", option = "--client-secret-file", way = "secret" },
  { name = "certificate", option = "--certificate", way = "certificate" },
  { name = "token_file", option = "--token-file", way = "workload" },
}

local one_tenants_token = "%s is the token of one tenant, and there are many: choose how to sign "
  .. "in with --auth"

local one_tenants_machine = "--auth managed signs in to the tenant of this machine alone, and "
  .. "there are many: choose another way with --auth"

local unchecked_domain = "%s must be the tenant's id with --auth managed, which signs in to the "
  .. "tenant of this machine: whether a domain is that tenant's cannot be checked"

local no_way = "there is no token: choose how to sign in with --auth, set AUTOPILOT_TOKEN, or name "
  .. "a file that holds a token with --token-file"

local no_way_for_many = "it is not said how to sign in: choose with --auth, or name a "
  .. "client_secret_file for each tenant in the list"

--- A message of the library, with the command's option in place of the library's.
local function in_words(message)
  return (message:gsub("set allow_world_readable = true", "give --allow-world-readable"))
end

--- The provider, with its messages in the command's words.
local function with_own_words(provider)
  return function(ask)
    local token, second, third = provider(ask)
    if not token and type(second) == "string" then
      second = in_words(second)
    end
    return token, second, third
  end
end

--- The secret of the application, or nil and what is wrong.
local function find_secret(options, context)
  local path = options.client_secret_file
  if not path then
    local secret = context:variable "AZURE_CLIENT_SECRET"
    return secret, "needs --client-secret-file or AZURE_CLIENT_SECRET"
  end
  local secret, message
  if path == "-" then
    secret = context:read_input(longest + 1):match "^%s*(.-)%s*$"
    message = (secret == "" or secret:find "%c") and "standard input must hold the secret alone"
  else
    secret, message =
      require("autopilot.token.secret_file").read_line(path, options.allow_world_readable)
    message = message and "--client-secret-file cannot be used: " .. in_words(message)
  end
  context:hide(secret)
  return not message and secret or nil, message
end

--- The name of the file that an option or a variable gives, or nil and what is wrong.
local function find_file(option, path, variable, context)
  local origin = path and option or variable
  path = path or context:variable(variable)
  if not path then
    return nil, ("needs %s or %s"):format(option, variable)
  end
  local message = input.complaint(path)
  if message then
    return nil, ("%s cannot be read: %s"):format(origin, message)
  end
  return path
end

--- The token in a text, or nil and what is wrong with the text, which is not quoted.
local function token_of(text, context)
  local token = text:match "^%s*(.-)%s*$"
  if token == "" then
    return nil, "is empty"
  elseif token:find "[%s%c]" then
    return nil, "must hold a token and nothing else"
  elseif #text > longest then
    return nil, "is too large for a token"
  end
  context:hide(token)
  return token
end

--- A provider of the token in a file. When the service refuses the token, the file is read again: it may hold
-- a newer one.
local function rereading(path, token, context)
  return function(ask)
    local text = ask.refresh and input.read(path, longest)
    token = text and token_of(text, context) or token
    return token
  end
end

--- The ready token that an option or the environment gives; nil and nil when neither does.
local function ready_token(options, context)
  local path, variable = options.token_file, context:variable "AUTOPILOT_TOKEN"
  local origin = path and "--token-file" or variable and "AUTOPILOT_TOKEN"
  if not origin then
    return nil
  elseif options.has_several then
    return nil, one_tenants_token:format(origin)
  end
  local text, is_rereadable = variable, nil
  if path == "-" then
    origin, text = "standard input", context:read_input(longest + 1)
  elseif path then
    text, is_rereadable = input.read(path, longest)
    if not text then
      return nil, "--token-file cannot be read: " .. is_rereadable
    end
    origin = "--token-file: " .. path
  end
  local token, message = token_of(text, context)
  if not token then
    return nil, ("%s %s"):format(origin, message)
  end
  return is_rereadable and rereading(path, token, context) or token
end

--- What each way is made of: the function of `autopilot.token`; which of tenant and client id must be known;
-- whether it reads a private file; and what gathers its further options, or returns nil and what is wrong.
local providers = {
  secret = {
    provider = "client_secret",
    needs_tenant = true,
    needs_client_id = true,
    gather = function(options, context)
      local secret, message = find_secret(options, context)
      return secret and { client_secret = secret }, message
    end,
  },
  certificate = {
    provider = "client_certificate",
    needs_tenant = true,
    needs_client_id = true,
    reads_key = true,
    gather = function(options, context)
      local path, message =
        find_file("--certificate", options.certificate, "AZURE_CLIENT_CERTIFICATE_PATH", context)
      local passphrase = context:variable "AZURE_CLIENT_CERTIFICATE_PASSWORD"
      return path and { certificate = path, passphrase = passphrase }, message
    end,
  },
  workload = {
    provider = "workload_identity",
    needs_tenant = true,
    needs_client_id = true,
    gather = function(options, context)
      local path, message =
        find_file("--token-file", options.token_file, "AZURE_FEDERATED_TOKEN_FILE", context)
      return path and { token_file = path }, message
    end,
  },
  managed = {
    provider = "managed_identity",
    gather = function(options, context)
      local tenant = options.tenant or context:variable "AZURE_TENANT_ID"
      if options.has_several then
        return nil, one_tenants_machine
      elseif tenant and not require("autopilot.graph.access_token").guid(tenant) then
        return nil, unchecked_domain:format(options.tenant and "--tenant" or "AZURE_TENANT_ID")
      end
      return {}
    end,
  },
  cli = {
    provider = "azure_cli",
    has_no_client_id = true,
    gather = function(options)
      return { tenant = not options.has_several and options.tenant or nil }
    end,
  },
  device = {
    provider = "device_code",
    needs_client_id = true,
    gather = function(_, context)
      return {
        prompt = function(info)
          context.output:warn(info.message)
        end,
      }
    end,
  },
  env = { provider = "environment", needs_tenant = true, reads_key = true },
  default = { provider = "default", reads_key = true },
}

--- What is missing for a way, or nil.
local function missing(way, given, options, context)
  if way.needs_client_id and not given.client_id then
    return "needs --client-id or AZURE_CLIENT_ID"
  elseif way.needs_tenant and not (options.tenant or context:variable "AZURE_TENANT_ID") then
    return "needs --tenant or AZURE_TENANT_ID"
  end
end

--- The provider of a way, or nil and what is wrong.
local function open(name, options, context)
  local way = providers[name]
  local given, message = {}, nil
  if way.gather then
    given, message = way.gather(options, context)
  end
  if given then
    if not way.has_no_client_id then
      given.client_id = options.client_id or context:variable "AZURE_CLIENT_ID"
      given.getenv = context.getenv
    end
    given.allow_world_readable = way.reads_key and options.allow_world_readable or nil
    message = missing(way, given, options, context)
  end
  if message then
    return nil, (message:gsub("^needs", ("--auth %s needs"):format(name)))
  end
  context:hide(context:variable "AZURE_CLIENT_SECRET")
  context:hide(context:variable "AZURE_CLIENT_CERTIFICATE_PASSWORD")
  local made, result = pcall(require("autopilot.token")[way.provider], given)
  if made then
    return way.reads_key and with_own_words(result) or result
  end
  return nil, (tostring(result):gsub("^autopilot%.token%.[%w_]+:", ("--auth %s:"):format(name)))
end

--- The way that the options name or imply; nil where they do neither; or nil and why they contradict each
-- other.
local function choose_way(options)
  local way, by = options.auth, options.auth and "--auth " .. options.auth
  for _, file in ipairs(file_options) do
    local is_ready_token = file.name == "token_file" and not way
    if options[file.name] and not is_ready_token then
      if way and way ~= file.way then
        return nil, ("%s does not go with %s"):format(file.option, by)
      end
      way, by = file.way, by or file.option
    end
  end
  return way
end

--- The provider that the environment describes; nil and nil when it describes none.
local function by_environment(options, context)
  for _, name in ipairs {
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_FEDERATED_TOKEN_FILE",
  } do
    if context:variable(name) then
      local provider, message = open("env", options, context)
      return provider, message and message:gsub("^%-%-auth env", "signing in with " .. name) or nil
    end
  end
end

--- The token, or a provider of it: as `--auth` says or a file implies, else a ready token, else as the
-- environment describes.
---@param options table<string, any> with `has_several`, a way that signs in to one tenant alone is refused
---@param context autopilot.cli.Context takes the secrets that were read
---@return string|autopilot.TokenProvider|nil token
---@return string? mistake one sentence, without a secret
function sign_in.open(options, context)
  local token
  local way, mistake = choose_way(options)
  if way then
    token, mistake = open(way, options, context)
  elseif not mistake then
    token, mistake = ready_token(options, context)
    if not token and not mistake then
      token, mistake = by_environment(options, context)
    end
  end
  if not token then
    return nil, mistake or (options.has_several and no_way_for_many or no_way)
  end
  return token
end

return sign_in
