--- Ways to sign in, chosen by options and environment: from `--auth` to a token provider.
--
-- What is missing or cannot be read is told before anything is sent. Ready tokens are the business of
-- `token_source`, signing in itself that of `autopilot.token`.

local input_file = require "autopilot.cli.input_file"
local values = require "autopilot.cli.values"

local sign_in = {}

local names = { "secret", "certificate", "workload", "managed", "cli", "device", "env", "default" }

-- Which file goes with which way.
local files =
  { client_secret_file = "secret", certificate = "certificate", token_file = "workload" }

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
  local given, message = {}, nil
  if way.gather then
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
  local every_way = "How to sign in: "
    .. table.concat(names, ", ")
    .. ". cli takes the Azure CLI's service principal or managed identity: a person's token of "
    .. "az has no permission of Intune."
  option("--auth", "WAY", every_way, values.one_of, names)
  option("--client-id", "ID", "Id of the application, or of a user-assigned identity.", values.text)
  option(
    "--client-secret-file",
    "FILE",
    "Read the application's secret from there; - is standard input.",
    values.text
  )
  option("--certificate", "FILE", "Certificate and key of the application (PEM).", values.text)
  parser:flag(
    "--allow-world-readable",
    "Take secret files that every user of the machine can read."
  )
end

--- The provider that the options choose; nil when they choose none.
---@param options table<string, any>
---@param context autopilot.cli.Context
---@return autopilot.TokenProvider? provider
---@return string? mistake one sentence, without a secret
function sign_in.by_options(options, context)
  local way, mistake = chosen(options)
  if not way then
    return nil, mistake
  end
  local provider, message = open(way, options, context)
  return provider, message
end

--- The provider that the environment describes, without being asked to; nil when it describes none.
---@param options table<string, any>
---@param context autopilot.cli.Context
---@return autopilot.TokenProvider? provider
---@return string? mistake one sentence, without a secret
function sign_in.by_environment(options, context)
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

return sign_in
