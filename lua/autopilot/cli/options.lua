--- The options that several commands have: what they are called, how their values are read, and the client
-- that they describe.

local nearest = require("autopilot.base.options").nearest
local outcome = require "autopilot.sync.outcome"
local sign_in = require "autopilot.cli.sign_in"
local text = require "autopilot.cli.text"

local options = {}

-- About three years: longer than anything that is waited for, and far from every overflow.
local most_seconds = 1e8
local most_count = 999999

--- A function that adds options with a value to a command: `option("--port", "PORT", "Listen there.",
-- options.count, 65535)`. The fourth argument makes the converter, from the option's name and what follows.
---@param parser table of argparse
---@return fun(name: string, metavariable: string, description: string, convert: function, ...: any) option
function options.declarer(parser)
  return function(name, metavariable, description, convert, ...)
    parser:option(name, description):argname(metavariable):convert(convert(name, ...))
  end
end

local function complaint(name, must_be, given)
  local shown = given:sub(1, 80):gsub("%c", "?")
  return ("option '%s' must be %s (got '%s')"):format(name, must_be, shown)
end

--- A function that makes converters for argparse, from the name of an option. `read` gives the value of a text,
-- or nil where the text is not what it `must_be`.
local function converter(must_be, read)
  return function(name)
    return function(given)
      local value = read(given)
      if value == nil then
        return nil, complaint(name, must_be, given)
      end
      return value
    end
  end
end

local function read_seconds(given)
  -- Decimal digits only: tonumber would also take 0x10, 1e3 and, in LuaJIT, inf and nan.
  local is_decimal = given:match "^%d+%.?%d*$" or given:match "^%.%d+$"
  local seconds = is_decimal and tonumber(given)
  return seconds and seconds > 0 and seconds <= most_seconds and seconds or nil
end

--- Seconds above 0, fractions allowed.
options.seconds = converter("a number of seconds above 0", read_seconds)

--- Seconds, 0 allowed.
options.seconds_or_zero = converter("a number of seconds, 0 or more", function(given)
  return given:match "^0+%.?0*$" and 0 or read_seconds(given)
end)

--- A time. It stays a text, because a time ago counts from when the command runs.
options.time = converter(text.time_forms, function(given)
  return text.read_time(given, 0) and given
end)

--- A whole number from 1 on.
---@param name string the option, as it is typed
---@param most integer?
---@return fun(given: string): integer?, string? converter
function options.count(name, most)
  most = most or most_count
  return converter(("a whole number from 1 to %d"):format(most), function(given)
    local count = #given <= 9 and given:match "^%d+$" and tonumber(given)
    return count and count >= 1 and count <= most and count or nil
  end)(name)
end

--- Any text that is not empty.
---@param name string
---@return fun(given: string): string?, string? converter
function options.text(name)
  return function(given)
    if given == "" then
      return nil, ("option '%s' must not be empty"):format(name)
    end
    return given
  end
end

--- One of a few words.
---@param name string
---@param words string[]
---@return fun(given: string): string?, string? converter
function options.one_of(name, words)
  return function(given)
    local others = {} -- `nearest` sorts the list that it is given
    for index, word in ipairs(words) do
      if given == word then
        return word
      end
      others[index] = word
    end
    local meant = nearest(given, others)
    local hint = meant and (": did you mean '%s'?"):format(meant) or ""
    return nil, complaint(name, "one of " .. table.concat(words, ", "), given) .. hint
  end
end

-- Options that people try, and what to do instead. They would make a secret an argument, which every user of
-- the machine can read and a shell keeps in a file; merely unknown, they would be searched for by other names.
local refused = {
  {
    names = "--token --access-token --bearer --bearer-token --assertion --client-assertion "
      .. "--refresh-token",
    instead = "give the token in AUTOPILOT_TOKEN, or in a file with --token-file",
  },
  {
    names = "--secret --client-secret --password",
    instead = "give the secret in AZURE_CLIENT_SECRET, or in a file with --client-secret-file",
  },
  {
    names = "--passphrase --certificate-password",
    instead = "give the passphrase in AZURE_CLIENT_CERTIFICATE_PASSWORD",
  },
}

local refusal = "option '%s' does not exist, because other users of the machine can read "
  .. "arguments: %s"

--- Makes the parser refuse options that would hold a secret.
---@param parser table of argparse
---@param refuse fun(sentence: string) must not return
function options.refuse_secrets(parser, refuse)
  for _, group in ipairs(refused) do
    for name in group.names:gmatch "%S+" do
      parser:option(name):args("?"):hidden(true):target("refused " .. name):action(function()
        refuse(refusal:format(name, group.instead))
      end)
    end
  end
end

--- Adds the options that tell how to sign in.
local function declare_sign_in(parser)
  local option = options.declarer(parser)
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
  option("--auth", "WAY", every_way, options.one_of, sign_in.ways)
  local client_id = "Id of the application to sign in as, or of a user-assigned managed identity. "
    .. "Default: AZURE_CLIENT_ID."
  option("--client-id", "ID", client_id, options.text)
  local secret_file = "File with the application's secret and nothing else. With - it is read from "
    .. "standard input. Implies --auth secret. Default: the secret in AZURE_CLIENT_SECRET."
  option("--client-secret-file", "FILE", secret_file, options.text)
  local certificate = "PEM file with the application's certificate and private key. Implies --auth "
    .. "certificate. Default: AZURE_CLIENT_CERTIFICATE_PATH."
  option("--certificate", "FILE", certificate, options.text)
  local token_file = "File with an access token for Microsoft Graph. With - it is read from "
    .. "standard input. Default: the token in AUTOPILOT_TOKEN. With --auth workload, the file with "
    .. "the token of the platform; default: AZURE_FEDERATED_TOKEN_FILE."
  option("--token-file", "FILE", token_file, options.text)
  local readable = "Accept a file with a secret or private key that every user of this machine can "
    .. "read. Without it, such a file is refused."
  parser:flag("--allow-world-readable", readable)
end

--- Adds the options of a command that talks to the service.
---@param parser table of argparse
---@param for_many boolean? the command is for many tenants, which are not named by an option
function options.declare_service(parser, for_many)
  local option = options.declarer(parser)
  if not for_many then
    local tenant = "The tenant, by its id (a GUID) or one of its domains. A token of a tenant with "
      .. "another id is not sent. Default: AZURE_TENANT_ID."
    option("--tenant", "ID", tenant, options.text)
  end
  declare_sign_in(parser)
  local clouds = { "global", "us_gov", "us_gov_dod", "china" }
  local cloud = "Microsoft cloud of the tenant: global (default), us_gov, us_gov_dod or china."
  option("--cloud", "CLOUD", cloud, options.one_of, clouds)
  local base_url = "Address of Microsoft Graph, or of a service that stands in for it, without a "
    .. "path. Default: AUTOPILOT_BASE_URL, else the address of the cloud."
  option("--base-url", "URL", base_url, options.text)
  local ca_file = "PEM file with the certificate authorities to trust, instead of those of this "
    .. "machine. Default: AUTOPILOT_CA_FILE."
  option("--ca-file", "FILE", ca_file, options.text)
  local timeout = "Time that one request may take, in seconds. Default: 60."
  option("--timeout", "SECONDS", timeout, options.seconds)
  local attempts = "How often a request is sent at most, if it fails for a passing reason. "
    .. "Default: 4."
  option("--attempts", "NUMBER", attempts, options.count)
end

--- The options of a client, but for its token, as the command line and the environment give them.
---@param given table<string, any> options of the command
---@param context autopilot.cli.Context
---@return table described
---@return table<string, string> origins by the client's option: the command's option or the variable it came from
function options.describe(given, context)
  local origins = {}
  local function find(name, value, option, variable)
    local by_environment = context:variable(variable)
    origins[name] = value and option or by_environment and variable
    return value or by_environment
  end
  local ca_file = find("http.ca_file", given.ca_file, "--ca-file", "AUTOPILOT_CA_FILE")
  local timeout, attempts = given.timeout, given.attempts
  return {
    tenant = find("tenant", given.tenant, "--tenant", "AZURE_TENANT_ID"),
    base_url = find("base_url", given.base_url, "--base-url", "AUTOPILOT_BASE_URL"),
    http = ca_file and { ca_file = ca_file },
    cloud = given.cloud,
    timeout = timeout and { total = timeout, connect = math.min(10, timeout) },
    retry = attempts and require("autopilot.retry").policy { attempts = attempts } or nil,
    transport = context.transport,
    sleep = context.sleep,
    clock = context.clock,
    now = context.now,
    random = context.random,
  },
    origins
end

--- Makes a client. What is wrong with one of its options is told by the name that the user knows.
---@param described autopilot.ClientOptions
---@param origins table<string, string>
---@return autopilot.Client? client
---@return string? mistake one sentence
function options.make_client(described, origins)
  local made, result = pcall(require "autopilot.client", described)
  if made then
    return result
  end
  local name, wrong = tostring(result):match "autopilot%.client: option '([%w_.]+)' (.*)$"
  if name and origins[name] then
    return nil, ("%s %s"):format(origins[name], (wrong:gsub(" %(got string%)$", "")))
  end
  error(result, 0)
end

--- The client that options and environment describe.
---@param given table<string, any> options of the command
---@param context autopilot.cli.Context
---@param own { on_event: fun(event: table)?, sleep: fun(seconds: number)? }? what the command adds
---@return autopilot.Client? client
---@return string? mistake one sentence
function options.client(given, context, own)
  local described, origins = options.describe(given, context)
  local mistake
  described.token, mistake = sign_in.open(given, context)
  if not described.token then
    return nil, mistake
  end
  for name, value in pairs(own or {}) do
    described[name] = value
  end
  context.tenant_origin = origins.tenant
  context:report_termination()
  return options.make_client(described, origins)
end

--- Ends a command: closes its client, prints the report, and returns the exit code for it.
---@param client autopilot.Client
---@param report autopilot.Report
---@param given table<string, any> options of the command
---@param context autopilot.cli.Context
---@param describe (fun(report: autopilot.Report): string[])? as for `Output:report`
---@return integer exit_code
function options.finish(client, report, given, context, describe)
  client:close()
  local origin = context.tenant_origin
  if origin and report.error and report.error.code == "TenantMismatch" then
    report.hint = ("The tenant was named by %s: %s, or sign in to that tenant."):format(
      origin,
      origin == "--tenant" and "name the one of the token" or "unset it"
    )
  end
  context.output:report(report, given, describe)
  return outcome.exit_code(report)
end

return options
