--- `autopilot-sync doctor`: finds what keeps a tenant from being synced, and says what to do about it.

local client_of = require "autopilot.cli.client"
local core = require "autopilot.core"
local options = require "autopilot.cli.options"
local passwords = require "autopilot.base.passwords"
local redact = require "autopilot.base.redact"
local words = require "autopilot.cli.text"
local write_file = require "autopilot.cli.output_file"

---@type autopilot.cli.Command
local doctor = {
  name = "doctor",
  summary = "Find what keeps a tenant from being synced.",
  description = "Looks at everything that a sync depends on, from the name of the service to the "
    .. "tenant's record, and tells what is wrong and what to do about it. Asks for no sync. Ends "
    .. "in 9 if something is wrong.",
  example = "doctor --tenant contoso.example --client-id ID \\\n"
    .. "      --client-secret-file secret.txt --bundle support.txt",
  options = [[
--deadline DURATION: Stop after this long.
--bundle FILE: Also write a text for a support case to this file: versions, options, ids, times and
  the headers of answers, without secrets.
]] .. options.one_tenant,
}

local states = { ok = "ok", warning = "warning", wrong = "WRONG", skipped = "-" }

--- The lines of the table for those checks that are in one of the given states.
local function lines_of(report, shown)
  local lines = {}
  for _, check in ipairs(report.checks) do
    if shown[check.state] then
      lines[#lines + 1] = ("%-15s  %-7s  %s"):format(check.title, states[check.state], check.text)
      lines[#lines + 1] = check.advice and (" "):rep(26) .. check.advice or nil
    end
  end
  return lines
end

--- Replaces the name of a client's option at the end of a text by the command's option or variable that set it.
local function name_origins(report, given, context)
  local function renamed(text)
    return (
      text:gsub("([( ])http%.([%l_]+)(%)?)$", function(before, name, after)
        local _, origin = context:find(given, name)
        return before .. origin .. after
      end)
    )
  end
  for _, check in ipairs(report.checks) do
    check.text = renamed(check.text)
  end
  if report.error then
    report.error.message = renamed(report.error.message)
  end
end

local function show(report, given, output)
  if given.json then
    return output:json(report)
  end
  local write = given.quiet and output.warn or output.line
  for _, line in ipairs(lines_of(report, given.quiet and { wrong = true } or states)) do
    write(output, line)
  end
end

-- ---- The text for a support case ---------------------------------------------------------------------

-- Variables whose values are printed; of others only that they are set.
local told = "AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_CERTIFICATE_PATH AZURE_AUTHORITY_HOST "
  .. "AZURE_FEDERATED_TOKEN_FILE AUTOPILOT_BASE_URL AUTOPILOT_CA_FILE SSL_CERT_FILE SSL_CERT_DIR "
  .. "no_proxy NO_PROXY "
local counted = "AZURE_CLIENT_SECRET AZURE_CLIENT_CERTIFICATE_PASSWORD AUTOPILOT_TOKEN "
  .. "AUTOPILOT_STORE https_proxy HTTPS_PROXY all_proxy ALL_PROXY"

local function environment_of(context)
  local values = {}
  for name in (told .. counted):gmatch "%S+" do
    local value = context:variable(name)
    for _, password in ipairs(passwords.find(value or "")) do
      context:hide(password)
    end
    values[name] = value and (told:find(name .. " ", 1, true) and value or "set")
  end
  return values
end

--- Adds a line for each value of a table, and of the tables in it.
local function add_values(lines, name, value)
  if type(value) == "table" then
    for key, field in pairs(value) do
      add_values(lines, name .. "." .. tostring(key), field)
    end
  elseif type(value) ~= "function" then
    lines[#lines + 1] = ("%s: %s"):format(name, tostring(value))
  end
end

--- The text that `--bundle` writes to a file. Secrets are replaced.
local function bundle_of(report, given, context)
  local values = { "version.autopilot-sync: " .. require "autopilot.version" }
  values[2] = "version.lua: " .. (_G.jit and _G.jit.version or _VERSION)
  add_values(values, "version", core.info())
  add_values(values, "option", given)
  add_values(values, "environment", environment_of(context))
  add_values(values, "request", report.requests)
  table.sort(values)
  local clean, lines = redact.prepare(context.secrets), {}
  local title = "autopilot-sync doctor, " .. words.time(context.now())
  for _, part in ipairs { { title, "" }, lines_of(report, states), { "" }, values } do
    for _, line in ipairs(part) do
      lines[#lines + 1] = clean((line:gsub("%c", " "))) .. "\n"
    end
  end
  return table.concat(lines)
end

function doctor.run(given, context)
  context.complained_of.store_failed = true -- the table tells it
  local client = client_of.open(given, context)
  local unwritable = given.bundle and write_file(given.bundle, nil, true)
  if unwritable then
    options.refuse("the file of --bundle cannot be written: " .. unwritable)
  end
  local report, failure = client:doctor { deadline = given.deadline }
  context:hide(client.last_token)
  client:close()
  report = report or failure
  name_origins(report, given, context)
  show(report, given, context.output)
  local bundle = given.bundle and bundle_of(report, given, context)
  unwritable = bundle and write_file(given.bundle, bundle, true)
  if unwritable then
    context.output:complain("the bundle could not be written: " .. unwritable)
  end
  return not report.ok and 9 or unwritable and 1 or 0
end

return doctor
