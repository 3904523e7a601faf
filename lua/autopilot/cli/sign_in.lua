--- How the command signs in: from options and environment to a token, or a provider of it.
--
-- What is missing or cannot be read is told before anything is sent. Signing in itself is the business of
-- `autopilot.token`.

local input_file = require "autopilot.cli.input_file"
local values = require "autopilot.cli.values"

local sign_in = {}

-- Access tokens have a few thousand bytes; an endless input is no token.
local longest = 64 * 1024

local names = { "secret", "certificate", "workload", "managed", "cli", "device", "env", "default" }

-- Which file goes with which way.
local files =
  { client_secret_file = "secret", certificate = "certificate", token_file = "workload" }

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

--- A variable that is set to something, or nil.
local function variable(context, name)
  local value = context.getenv(name)
  return value ~= "" and value or nil
end

--- Keeps a secret of the environment out of everything that is printed.
local function note_secrets(context)
  for _, name in ipairs { "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD" } do
    context.secrets[#context.secrets + 1] = variable(context, name)
  end
end

--- A message of the library's that names the command's option instead.
local function in_words(message)
  return (message:gsub("set allow_world_readable = true", "give --allow-world-readable"))
end

--- A provider that says what is wrong with a file in the command's words.
local function speaking(provider)
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
    local secret = variable(context, "AZURE_CLIENT_SECRET")
    return secret, "needs --client-secret-file or AZURE_CLIENT_SECRET"
  end
  local secret, message
  if path == "-" then
    secret = (context.stdin:read(64 * 1024) or ""):match "^%s*(.-)%s*$"
    message = (secret == "" or secret:find "%c") and "standard input must hold the secret alone"
  else
    secret, message =
      require("autopilot.token.secret_file").read_line(path, options.allow_world_readable)
    message = message and "--client-secret-file cannot be used: " .. in_words(message)
  end
  context.secrets[#context.secrets + 1] = secret
  return not message and secret or nil, message
end

--- The name of a file that an option or a variable gives, or nil and what is wrong.
local function find_file(option, path, name, context)
  local origin = path and option or name
  path = path or variable(context, name)
  if not path then
    return nil, ("needs %s or %s"):format(option, name)
  end
  local message = input_file.complaint(path)
  if message then
    return nil, ("%s cannot be read: %s"):format(origin, message)
  end
  return path
end

--- The token that a text holds, or nil and what is wrong with the text, without a word of it.
local function token_of(text)
  local token = text:match "^%s*(.-)%s*$"
  if token == "" then
    return nil, "is empty"
  elseif token:find "[%s%c]" then
    return nil, "must hold a token and nothing else"
  elseif #text > longest then
    return nil, "is too large for a token"
  end
  return token
end

--- A provider of the token in a file: when the service refuses it, the file may hold a newer one.
local function rereading(path, token, secrets)
  return function(ask)
    local text = ask.refresh and input_file.read(path, longest)
    local newer = text and token_of(text)
    if newer and newer ~= token then
      token = newer
      secrets[#secrets + 1] = token
    end
    return token
  end
end

local function from_file(path, context)
  local text, rereadable = input_file.read(path, longest)
  if not text then
    return nil, "--token-file cannot be read: " .. rereadable
  end
  local token, message = token_of(text)
  if not token then
    return nil, ("--token-file: %s %s"):format(path, message)
  end
  context.secrets[#context.secrets + 1] = token
  return rereadable and rereading(path, token, context.secrets) or token
end

local function from_text(text, name, context)
  local token, message = token_of(text)
  if not token then
    return nil, ("%s %s"):format(name, message)
  end
  context.secrets[#context.secrets + 1] = token
  return token
end

--- What each way needs beside client id, scope and environment: fields for its provider, or nil and
-- what is wrong. `needs` says whether a tenant and a client id must be known.
local ways = {
  secret = {
    provider = "client_secret",
    needs = { tenant = true, client_id = true },
    gather = function(options, context)
      local secret, message = find_secret(options, context)
      return secret and { client_secret = secret }, message
    end,
  },
  certificate = {
    provider = "client_certificate",
    needs = { tenant = true, client_id = true },
    gather = function(options, context)
      local path, message =
        find_file("--certificate", options.certificate, "AZURE_CLIENT_CERTIFICATE_PATH", context)
      return path and {
        certificate = path,
        passphrase = variable(context, "AZURE_CLIENT_CERTIFICATE_PASSWORD"),
      },
        message
    end,
    reads_key = true,
  },
  workload = {
    provider = "workload_identity",
    needs = { tenant = true, client_id = true },
    gather = function(options, context)
      local path, message =
        find_file("--token-file", options.token_file, "AZURE_FEDERATED_TOKEN_FILE", context)
      return path and { token_file = path }, message
    end,
  },
  managed = { provider = "managed_identity", needs = {} },
  cli = {
    provider = "azure_cli",
    needs = {},
    knows_no_client = true,
    gather = function(options)
      return { tenant = not options.has_several and options.tenant or nil }
    end,
  },
  device = {
    provider = "device_code",
    needs = { client_id = true },
    gather = function(_, context)
      return {
        prompt = function(info)
          context.output:warn(info.message)
        end,
      }
    end,
  },
  env = { provider = "environment", needs = { tenant = true }, reads_key = true },
  default = { provider = "default", needs = {}, reads_key = true },
}

--- The way that the options name, or nil; or nil and why they contradict each other.
local function chosen(options)
  local way, by = options.auth, "--auth " .. (options.auth or "")
  for _, file in ipairs { "client_secret_file", "certificate", "token_file" } do
    local option = "--" .. file:gsub("_", "-")
    local is_ready_token = file == "token_file" and not way
    if options[file] and not is_ready_token then
      if way and way ~= files[file] then
        return nil, ("%s does not go with %s"):format(option, by)
      end
      way, by = files[file], by ~= "--auth " and by or option
    end
  end
  return way
end

--- Whether a text has the form of a tenant's id, which a token can be compared with; a domain has not.
local function is_tenant_id(text)
  return #text == 36 and text:find "^%x+%-%x+%-%x+%-%x+%-%x+$" ~= nil
end

--- Why a way is not of use for the tenants that are asked for, or nil.
local function complaint_about_tenant(name, options, context)
  if name ~= "managed" then
    return nil
  elseif options.has_several then
    return one_tenants_machine
  end
  local tenant = options.tenant or variable(context, "AZURE_TENANT_ID")
  if tenant and not is_tenant_id(tenant) then
    return unchecked_domain:format(options.tenant and "--tenant" or "AZURE_TENANT_ID")
  end
end

--- What is missing for a way, or nil.
local function missing(way, given, options, context)
  if way.needs.client_id and not given.client_id then
    return "needs --client-id or AZURE_CLIENT_ID"
  elseif way.needs.tenant and not (options.tenant or variable(context, "AZURE_TENANT_ID")) then
    return "needs --tenant or AZURE_TENANT_ID"
  end
end

--- The provider of a way, or nil and what is wrong.
local function open(name, options, context)
  local way = ways[name]
  local given, message = {}, complaint_about_tenant(name, options, context)
  if message then
    return nil, message
  elseif way.gather then
    given, message = way.gather(options, context)
  end
  if not given then
    return nil, (message:gsub("^needs", ("--auth %s needs"):format(name)))
  end
  note_secrets(context)
  if not way.knows_no_client then
    given.client_id = options.client_id or variable(context, "AZURE_CLIENT_ID")
    given.getenv = context.getenv
  end
  if way.reads_key then
    given.allow_world_readable = options.allow_world_readable
  end
  message = missing(way, given, options, context)
  if message then
    return nil, ("--auth %s %s"):format(name, message)
  end
  local made, result = pcall(require("autopilot.token")[way.provider], given)
  if made then
    return way.reads_key and speaking(result) or result
  end
  return nil, (tostring(result):gsub("^autopilot%.token%.[%w_]+:", ("--auth %s:"):format(name)))
end

--- Adds the options.
---@param parser table of argparse
function sign_in.declare(parser)
  local option = values.declarer(parser)
  local every_way = "How to sign in:\n"
    .. "* secret: with the application's secret\n"
    .. "* certificate: with the application's certificate\n"
    .. "* workload: with a token in a file, from Kubernetes or a build server\n"
    .. "* managed: as the managed identity of this Azure machine\n"
    .. "* cli: as the application or managed identity that is signed in to the Azure CLI; a "
    .. "person's sign-in there cannot be given the permission\n"
    .. "* device: a person signs in on a web page, with a code that is shown here\n"
    .. "* env: with what the AZURE_ variables hold\n"
    .. "* default: the first of env, workload, managed and cli that works\n"
    .. "Without it: as a file option implies, else the token in AUTOPILOT_TOKEN, else env."
  option("--auth", "WAY", every_way, values.one_of, names)
  local client_id = "Id of the application to sign in as, or of a user-assigned managed identity. "
    .. "Default: AZURE_CLIENT_ID."
  option("--client-id", "ID", client_id, values.text)
  local secret_file = "File with the application's secret and nothing else. With - it is read from "
    .. "standard input. Implies --auth secret. Default: the secret in AZURE_CLIENT_SECRET."
  option("--client-secret-file", "FILE", secret_file, values.text)
  local certificate = "PEM file with the application's certificate and private key. Implies --auth "
    .. "certificate. Default: AZURE_CLIENT_CERTIFICATE_PATH."
  option("--certificate", "FILE", certificate, values.text)
  local token_file = "File with an access token for Microsoft Graph. With - it is read from "
    .. "standard input. Default: the token in AUTOPILOT_TOKEN. With --auth workload, the file with "
    .. "the token of the platform; default: AZURE_FEDERATED_TOKEN_FILE."
  option("--token-file", "FILE", token_file, values.text)
  local readable = "Accept a file with a secret or private key that every user of this machine can "
    .. "read. Without it, such a file is refused."
  parser:flag("--allow-world-readable", readable)
end

--- The ready token that an option or the environment gives; nil and nil when neither does.
local function ready_token(options, context)
  local origin = options.token_file and "--token-file"
    or variable(context, "AUTOPILOT_TOKEN") and "AUTOPILOT_TOKEN"
  if origin and options.has_several then
    return nil, one_tenants_token:format(origin)
  elseif options.token_file == "-" then
    return from_text(context.stdin:read(longest + 1) or "", "standard input", context)
  elseif options.token_file then
    return from_file(options.token_file, context)
  elseif origin then
    return from_text(context.getenv(origin), origin, context)
  end
end

--- The provider that the environment describes; nil and nil when it describes none.
local function by_environment(options, context)
  for _, name in ipairs {
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_FEDERATED_TOKEN_FILE",
  } do
    if variable(context, name) then
      local provider, message = open("env", options, context)
      return provider, message and message:gsub("^%-%-auth env", "signing in with " .. name) or nil
    end
  end
end

--- The token, or a provider of it: as `--auth` says or a file implies, else a ready token, else as the
-- environment describes.
---@param options table<string, any> with `has_several`, what signs in to one tenant alone is refused
---@param context autopilot.cli.Context takes the secrets that were read
---@return string|autopilot.TokenProvider|nil token
---@return string? mistake one sentence, without a secret
function sign_in.open(options, context)
  local way, mistake = chosen(options)
  local token
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
