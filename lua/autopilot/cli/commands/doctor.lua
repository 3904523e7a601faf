--- `autopilot-sync doctor`: finds what keeps a tenant from being synced, and says what to do about it.

local client_of = require "autopilot.cli.client"
local core = require "autopilot.core"
local options = require "autopilot.cli.options"
local passwords = require "autopilot.base.passwords"
local protected_call = require "autopilot.base.protected_call"
local redact = require "autopilot.base.redact"
local words = require "autopilot.cli.text"

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

-- Some texts of checks end with the name of an option of the client. For each such option: the pattern of that end,
-- and the end that names the command's option or variable instead.
local endings = {
  proxy = { "named by http%.proxy$", "named by %s" },
  ca_file = { "%(http%.ca_file%)$", "(%s)" },
}

--- Replaces the names of client options in the texts by the command's option or variable that set them.
local function name_origins(report, given, context)
  for name, ending in pairs(endings) do
    local _, origin = context:find(given, name)
    local function renamed(text)
      return (text:gsub(ending[1], ending[2]:format(origin)))
    end
    for _, check in ipairs(report.checks) do
      check.text = renamed(check.text)
    end
    if report.error then
      report.error.message = renamed(report.error.message)
    end
  end
end

local function show(report, given, output)
  if given.json then
    output:json(report)
    return
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
    if value and told:find(name .. " ", 1, true) then
      for _, password in ipairs(passwords.find(value)) do
        context:hide(password)
      end
      values[name] = value
    else
      values[name] = value and "set"
    end
  end
  return values
end

local function versions()
  local info = core.info()
  return {
    ["autopilot-sync"] = require "autopilot.version",
    lua = type(jit) == "table" and jit.version or _VERSION, -- luacheck: ignore 113
    libcurl = info.libcurl,
    tls = info.ssl,
  }
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
  local values = {}
  add_values(values, "version", versions())
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

--- Writes the text; returns false and prints a message if that fails.
local function write_bundle(path, text, output)
  local is_written, message = protected_call(function()
    local file = assert(io.open(path, "wb"))
    assert(file:write(text))
    assert(file:close())
  end)
  if not is_written then
    output:complain("the bundle could not be written: " .. tostring(message))
  end
  return is_written
end

function doctor.run(given, context)
  local function on_event(event) -- without --verbose the table tells it
    if given.verbose then
      client_of.tell(event, context)
    end
  end
  local client = client_of.open(given, context, { on_event = on_event })
  if given.bundle and not core.make_private(given.bundle) then
    options.refuse(("the file of --bundle cannot be written: %s"):format(given.bundle))
  end
  local report, failure = client:doctor { deadline = given.deadline }
  context:hide(client.last_token)
  client:close()
  report = report or failure
  name_origins(report, given, context)
  show(report, given, context.output)
  local is_written = not given.bundle
    or write_bundle(given.bundle, bundle_of(report, given, context), context.output)
  return not report.ok and 9 or is_written and 0 or 1
end

return doctor
