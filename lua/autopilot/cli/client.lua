--- The client that options and environment describe, and how the commands for one tenant use it.

local merged = require "autopilot.base.merged"
local outcome = require "autopilot.sync.outcome"
local progress = require "autopilot.cli.progress"
local sign_in = require "autopilot.cli.sign_in"

local client = {}

--- The options of a client, but for its token, as the command line and the environment give them.
---@param given table<string, any> options of the command
---@param context autopilot.cli.Context
---@return table described
---@return table<string, string> origins by the client's option: the command's option or the variable it came from
function client.describe(given, context)
  local origins, timeout = {}, given.timeout
  local function find(name, option)
    local value, origin = context:find(given, name)
    origins[option or name] = value and origin
    return value
  end
  local ca_file = find("ca_file", "http.ca_file")
  return {
    tenant = find "tenant",
    base_url = find "base_url",
    http = ca_file and { ca_file = ca_file },
    cloud = given.cloud,
    timeout = timeout and { total = timeout, connect = math.min(10, timeout) },
    retry = given.attempts and require("autopilot.retry").policy { attempts = given.attempts },
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
function client.make(described, origins)
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
function client.open(given, context, own)
  local described, origins = client.describe(given, context)
  local token, mistake = sign_in.open(given, context)
  if not token then
    return nil, mistake
  end
  context.tenant_origin = origins.tenant
  context:report_termination()
  return client.make(merged(described, { token = token }, own), origins)
end

--- Runs a method that may wait, with progress on a terminal.
---@param method "sync"|"wait"|"ensure"
---@param given table<string, any> options of the command
---@param context autopilot.cli.Context
---@param arguments table of the method
---@return autopilot.Report? report
---@return autopilot.Client|string opened the client; without a report, what is wrong with the options
function client.run(method, given, context, arguments)
  local shown = progress.of_waiting(context, given)
  local opened, mistake = client.open(given, context, {
    sleep = shown.sleep,
    on_event = method ~= "wait" and context:request_observer() or nil,
  })
  if not opened then
    return nil, mistake
  end
  arguments.on_progress = shown.on_progress
  local report, failure = opened[method](opened, arguments)
  return report or failure, opened
end

--- Ends a command: closes its client, prints the report, and returns the exit code for it.
---@param opened autopilot.Client
---@param report autopilot.Report
---@param given table<string, any> options of the command
---@param context autopilot.cli.Context
---@param describe (fun(report: autopilot.Report): string[])? as for `Output:report`
---@return integer exit_code
function client.finish(opened, report, given, context, describe)
  opened:close()
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

return client
