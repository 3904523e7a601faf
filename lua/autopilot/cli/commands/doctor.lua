--- `autopilot-sync doctor`: finds what keeps a tenant from being synced, and says what to do about it.

local client_of = require "autopilot.cli.client"
local core = require "autopilot.core"
local options = require "autopilot.cli.options"
local passwords = require "autopilot.base.passwords"
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

-- Where the text of a check names an option of the client, as its end.
local named_at_end = { proxy = "named by http%.proxy$", ca_file = "%(http%.ca_file%)$" }

--- Names the option or variable of the command that set an option of the client in its place.
local function name_origins(report, given, context)
  for name, ending in pairs(named_at_end) do
    local _, origin = context:find(given, name)
    local function renamed(text)
      return (
        text:gsub(ending, function(found)
          return (found:gsub("http[%w_.]+", origin))
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
end

local function show(report, given, output)
  if given.json then
    output:json(report)
    return
  end
  for _, line in ipairs(lines_of(report, given.quiet and { wrong = true } or states)) do
    if given.quiet then
      output:warn(line)
    else
      output:line(line)
    end
  end
end

-- ---- The text for a support case ---------------------------------------------------------------------

-- Variables whose values are told; of others only that they are set.
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

--- Adds a line for each value of a table, and of the tables in it, in the order of their names.
local function add_values(lines, name, value)
  if type(value) ~= "table" then
    if type(value) ~= "function" then
      lines[#lines + 1] = ("%s: %s"):format(name, tostring(value))
    end
    return
  end
  local keys = {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for _, key in ipairs(keys) do
    add_values(lines, name .. "." .. tostring(key), value[key])
  end
end

--- The text. A line that hides a secret is replaced.
local function bundle_of(report, given, context)
  local lines = { "autopilot-sync doctor, " .. words.time(context.now()), "" }
  for _, line in ipairs(lines_of(report, states)) do
    lines[#lines + 1] = line
  end
  lines[#lines + 1] = ""
  add_values(lines, "version", versions())
  add_values(lines, "option", given)
  add_values(lines, "environment", environment_of(context))
  add_values(lines, "request", report.requests)
  local clean = redact.prepare(context.secrets)
  for index, line in ipairs(lines) do
    lines[index] = clean((line:gsub("%c", " ")))
  end
  return table.concat(lines, "\n") .. "\n"
end

--- Writes the text; false if that failed, which the user is told.
local function write_bundle(path, text, output)
  local file, message = io.open(path, "wb")
  local done = file
  if file then
    done, message = file:write(text)
    local closed, reason = file:close()
    done, message = done and closed, message or reason
  end
  if not done then
    output:complain(("the bundle could not be written: %s"):format(message))
  end
  return done
end

function doctor.run(given, context)
  if given.bundle and not core.make_private(given.bundle) then
    options.refuse(("the file of --bundle cannot be written: %s"):format(given.bundle))
  end
  local function on_event(event) -- without --verbose the table tells it
    if given.verbose then
      client_of.tell(event, context)
    end
  end
  local client = client_of.open(given, context, { on_event = on_event })
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
