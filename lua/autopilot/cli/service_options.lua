--- The options of every command that talks to the service, and the client that they make.

local outcome = require "autopilot.sync.outcome"
local sign_in = require "autopilot.cli.sign_in"
local values = require "autopilot.cli.values"

local service_options = {}

--- Adds the options.
---@param parser table of argparse
---@param for_many boolean? the command is for many tenants, which are not named by an option
function service_options.declare(parser, for_many)
  local option = values.declarer(parser)
  if not for_many then
    local tenant = "The tenant, by its id (a GUID) or one of its domains. A token of a tenant with "
      .. "another id is not sent. Default: AZURE_TENANT_ID."
    option("--tenant", "ID", tenant, values.text)
  end
  sign_in.declare(parser)
  local clouds = { "global", "us_gov", "us_gov_dod", "china" }
  local cloud = "Microsoft cloud of the tenant: global (default), us_gov, us_gov_dod or china."
  option("--cloud", "CLOUD", cloud, values.one_of, clouds)
  local base_url = "Address of Microsoft Graph, or of a service that stands in for it, without a "
    .. "path. Default: AUTOPILOT_BASE_URL, else the address of the cloud."
  option("--base-url", "URL", base_url, values.text)
  local ca_file = "PEM file with the certificate authorities to trust, instead of those of this "
    .. "machine. Default: AUTOPILOT_CA_FILE."
  option("--ca-file", "FILE", ca_file, values.text)
  local timeout = "Time that one request may take, in seconds. Default: 60."
  option("--timeout", "SECONDS", timeout, values.seconds)
  local attempts = "How often a request is sent at most, if it fails for a passing reason. "
    .. "Default: 4."
  option("--attempts", "NUMBER", attempts, values.count)
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
---@param own { on_event: fun(event: table)?, sleep: fun(seconds: number)? }? of the command
---@return autopilot.Client? client
---@return string? mistake one sentence
function service_options.client(options, context, own)
  local given, origins = service_options.describe(options, context)
  local token, mistake = sign_in.open(options, context)
  if not token then
    return nil, mistake
  end
  given.token = token
  for name, value in pairs(own or {}) do
    given[name] = value
  end
  context.tenant_origin = origins.tenant
  local client
  client, mistake = service_options.make(given, origins)
  return client, mistake
end

--- Ends a command: closes its client, prints the report, and returns the exit code for it.
---@param client autopilot.Client
---@param report autopilot.Report
---@param options table<string, any>
---@param context autopilot.cli.Context
---@param describe (fun(report: autopilot.Report): string[])? as for `Output:report`
---@return integer exit_code
function service_options.finish(client, report, options, context, describe)
  client:close()
  local origin = context.tenant_origin
  if origin and report.error and report.error.code == "TenantMismatch" then
    report.hint = ("The tenant was named by %s: %s, or sign in to that tenant."):format(
      origin,
      origin == "--tenant" and "name the one of the token" or "unset it"
    )
  end
  context.output:report(report, options, describe)
  return outcome.exit_code(report)
end

return service_options
