--- The options of every command that talks to the service, and the client that they make.

local token_source = require "autopilot.cli.token_source"
local values = require "autopilot.cli.values"

local service_options = {}

--- Adds the options.
---@param parser table of argparse
---@param for_many boolean? the command is for many tenants, which are not named by an option
function service_options.declare(parser, for_many)
  local option = values.declarer(parser)
  if not for_many then
    option("--tenant", "ID", "Id or domain of the tenant; it is named in the report.", values.text)
  end
  token_source.declare(parser)
  local clouds = { "global", "us_gov", "us_gov_dod", "china" }
  option(
    "--cloud",
    "CLOUD",
    "global (default), us_gov, us_gov_dod or china.",
    values.one_of,
    clouds
  )
  option("--base-url", "URL", "Where the service is; default: by the cloud.", values.text)
  option("--ca-file", "FILE", "Trust the certificates of these authorities (PEM).", values.text)
  option("--timeout", "SECONDS", "Time for each request; default: 60.", values.seconds)
  option("--attempts", "NUMBER", "At most so many requests; default: 4.", values.count)
end

--- What was given as an option or in the environment, and the name of the one that gave it. An empty
-- variable is one that is not set.
local function either(value, option, variable, getenv)
  if value then
    return value, option
  end
  local text = getenv(variable)
  if text and text ~= "" then
    return text, variable
  end
end

--- Where each of the client's options came from, for its complaints.
local function gather(options, context)
  local getenv, given, origins = context.getenv, {}, {}
  given.tenant, origins.tenant = either(options.tenant, "--tenant", "AZURE_TENANT_ID", getenv)
  given.base_url, origins.base_url =
    either(options.base_url, "--base-url", "AUTOPILOT_BASE_URL", getenv)
  local ca_file
  ca_file, origins["http.ca_file"] =
    either(options.ca_file, "--ca-file", "AUTOPILOT_CA_FILE", getenv)
  given.http = ca_file and { ca_file = ca_file }
  return given, origins
end

--- Makes a client; what it says against an option is told of where the option came from.
---@param given autopilot.ClientOptions
---@param origins table<string, string>
---@return autopilot.Client? client
---@return string? mistake one sentence
function service_options.make(given, origins)
  local made, result = pcall(require "autopilot.client", given)
  if made then
    return result
  end
  local name, complaint = tostring(result):match "autopilot%.client: option '([%w_.]+)' (.*)$"
  if name and origins[name] then
    return nil, ("%s %s"):format(origins[name], (complaint:gsub(" %(got string%)$", "")))
  end
  error(result, 0)
end

--- What options and environment say of a client, but for its token; and where each of it came from.
---@param options table<string, any>
---@param context autopilot.cli.Context
---@return table given
---@return table<string, string> origins
function service_options.describe(options, context)
  local given, origins = gather(options, context)
  given.cloud = options.cloud
  if options.timeout then
    given.timeout = { total = options.timeout, connect = math.min(10, options.timeout) }
  end
  if options.attempts then
    given.retry = require("autopilot.retry").policy { attempts = options.attempts }
  end
  for _, name in ipairs { "transport", "sleep", "clock", "now", "random" } do
    given[name] = context[name]
  end
  return given, origins
end

--- The client that options and environment describe.
---@param options table<string, any>
---@param context autopilot.cli.Context
---@param on_event fun(event: table)?
---@return autopilot.Client? client
---@return string? mistake one sentence
function service_options.client(options, context, on_event)
  local given, origins = service_options.describe(options, context)
  local token, mistake = token_source.open(options, context)
  if not token then
    return nil, mistake
  end
  given.token, given.on_event = token, on_event
  local client
  client, mistake = service_options.make(given, origins)
  return client, mistake
end

return service_options
