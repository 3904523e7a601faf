--- Signs in as whoever is signed in to the Azure CLI of this machine: `az account get-access-token`.
--
-- A person who is signed in to it gets a token that Intune refuses: the CLI's own application has no
-- permission for it, and none can be added (AADSTS65002). Service principals and managed identities that
-- are signed in to it do work. The command is run by `io.popen`, which keeps everything else in this
-- Lua waiting, in OpenResty the whole worker, until `az` is done: up to some seconds. On Windows
-- nothing is run unless the option `run` says how: its shell has other rules of quoting.
--
-- Only checked values reach the shell, and they are quoted as well; no secret is among them. Nothing
-- that `az` prints on success is ever repeated.

local authority = require "autopilot.token.authority"
local clouds = require "autopilot.base.clouds"
local core = require "autopilot.core"
local dates = require "autopilot.base.dates"
local json = require "autopilot.base.json"
local life = require "autopilot.token.life"
local oauth = require "autopilot.token.oauth"
local oauth_error = require "autopilot.token.oauth_error"
local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"
local redact = require "autopilot.base.redact"

---@class autopilot.token.AzureCliOptions
---@field tenant string? default: that of the account; az refuses it when it is signed in by identity
---@field scope string? default: that of the client
---@field command string? the program, a name or a path; default `az`
---@field timeout number? seconds, kept where the machine has a `timeout` command; default 30
--- Runs a command line of the POSIX shell; default `io.popen`. It may yield.
---@field run (fun(command_line: string): string?, integer?)? gives output, errors among it, and exit code

local name = "autopilot.token.azure_cli"

-- What `az` prints has some kilobytes, and its warnings have a few lines.
local longest_output, most_lines = 256 * 1024, 200

-- Before Lua 5.2, closing a pipe does not give the exit code: so it is printed last.
local report_exit = [[; printf '\nautopilot-sync: exit %d\n' $?]]

-- What a shell, and the `timeout` command, end with.
local timed_out, not_executable, not_found = 124, 126, 127

--- What an access token is asked for: the scope without its last part; nil when a shell must not see it.
local function resource_of(scope)
  local resource = scope:gsub("/%.default$", "")
  local host, rest = resource:match "^https://(%w[%w.-]*)(.*)$"
  local path = rest and rest:gsub("^:%d%d?%d?%d?%d?", "")
  local is_right = path and #host <= 253 and (path == "" or path:find "^/[%w._~/-]*$")
  return is_right and #resource <= 1000 and resource or nil
end

local scope_must = "must be an https URL of letters, digits and -._~/ for the Azure CLI"

local rules = {
  tenant = { type = "string", check = authority.tenant_complaint },
  scope = {
    type = "string",
    check = function(value)
      return not resource_of(value) and scope_must or nil
    end,
  },
  command = {
    type = "string",
    default = "az",
    check = function(value)
      local is_program = not value:find "^%-" and value ~= "" and not value:find "%c"
      return not is_program and "must be the name or path of a program" or nil
    end,
  },
  timeout = { type = "number", default = 30, above = 0, max = 3600 },
  run = { type = "function" },
}

local function failed(message, hint, facts)
  local details = facts or {}
  details.hint = hint
  details.is_transient = details.is_transient == true
  return nil, message, details
end

--- One word for the shell, whatever is in it.
local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- The command line for the POSIX shell.
local function command_line(checked, resource, tenant)
  local words = { quoted(checked.command), "account get-access-token -o json --resource" }
  words[#words + 1] = quoted(resource)
  if tenant then
    words[#words + 1] = "--tenant " .. quoted(authority.bare_tenant(tenant))
  end
  local limit = "if command -v timeout >/dev/null 2>&1; then limit='timeout %d'; else limit=; fi"
  return ("%s; $limit %s </dev/null 2>&1"):format(
    limit:format(math.ceil(checked.timeout)),
    table.concat(words, " ")
  )
end

--- Runs a command line to its end. Output and exit code, or nil when it could not be run.
local function run_by_shell(line)
  local can_run, pipe = pcall(io.popen, line .. report_exit, "r")
  if not can_run or not pipe then
    return nil
  end
  local output = pipe:read(longest_output + 1) or ""
  pipe:close()
  local printed, code = output:match "^(.*)\nautopilot%-sync: exit (%d+)\n$"
  return printed or output, tonumber(code)
end

--- The object with the token, behind whatever warnings; nil when there is none.
local function find_answer(output)
  if #output > longest_output then
    return nil
  end
  local position, lines = 1, 0
  while position and lines < most_lines do
    local text = output:match("^%s*(%b{})", position)
    local ok, answer = pcall(json.decode, text or "")
    if ok and type(answer) == "table" and answer.accessToken ~= nil then
      return answer
    end
    position, lines = output:find("\n", position, true), lines + 1
    position = position and position + 1
  end
end

--- Unix seconds of a local time without zone, as older versions write it; nil when it is none.
local function local_time(text)
  local year, month, day, hour, minute, second, rest =
    text:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)[ T](%d%d):(%d%d):(%d%d)(.*)$"
  if not year or not (rest == "" or rest:find "^%.%d+$") then
    return dates.read_timestamp(text)
  end
  local ok, seconds = pcall(os.time, {
    year = tonumber(year),
    month = tonumber(month),
    day = tonumber(day),
    hour = tonumber(hour),
    min = tonumber(minute),
    sec = tonumber(second),
  })
  return ok and seconds or nil
end

--- Seconds that the token has left; nil when that is not told.
local function life_of(answer, now)
  local at = life.positive(answer.expires_on)
  if not at and type(answer.expiresOn) == "string" then
    at = local_time(answer.expiresOn)
  end
  -- Neither infinite nor not a number.
  return at and at > 0 and at < 1e12 and math.max(at - now, 0) or nil
end

-- Lines that `az` ends with and that say nothing of what went wrong.
local advice = { "^To open an issue", "^Please ", "^Try this", "^https?://", "az feedback" }

--- Whether a line may say what went wrong. Lines of a traceback that quote code are indented.
local function is_meaningful(line)
  for _, pattern in ipairs(advice) do
    if line:find(pattern) then
      return false
    end
  end
  return line:find "^%S" ~= nil and not line:find "^Traceback" and not line:find "^WARNING"
end

--- What `az` complains about, in one line: what follows "ERROR:", or else its last line. A traceback of
-- Python ends with the line that says what happened.
local function complaint_of(output)
  local text = redact.text(output) -- before it is cut: half a token would not be known as one
  text = text:gsub("\27%[[%d;]*m", "")
  local line = text:match "ERROR:%s*([^\r\n]+)"
  if
    not line
    or line:find("Traceback", 1, true)
    or line:find("The command failed with", 1, true)
  then
    for other in text:gmatch "[^\r\n]+" do
      line = is_meaningful(other) and other or line
    end
  end
  line = (line or ""):gsub("^%s*ERROR:%s*", ""):gsub("%c", " "):gsub("^%s+", ""):sub(1, 300)
  return line ~= "" and "the Azure CLI failed: " .. line
    or "the Azure CLI failed and did not say why"
end

--- Why there is no token: nil, a sentence and details.
local function failure(output, code, checked)
  if code == not_found or code == not_executable then
    local message = "the Azure CLI was not found: there is no program '%s' to run"
    local program = checked.command:sub(1, 200)
    return failed(message:format(program), "Install the Azure CLI, or sign in another way.")
  elseif code == timed_out then
    local message = ("the Azure CLI did not answer within %g s"):format(checked.timeout)
    return failed(message, nil, { is_transient = true })
  elseif output:find('"accessToken"', 1, true) then
    return failed "the Azure CLI failed"
  end
  if output:find("Tenant shouldn't be specified", 1, true) then
    local message = "the Azure CLI is signed in by identity, to the machine's own tenant only"
    return failed(message, "Sign in another way, or name no tenant.", { code = "TenantMismatch" })
  end
  local description = output:match "AADSTS%d+:.*"
  if description then
    local message, details = oauth_error.read(400, {}, {
      error_description = description,
    }, redact.prepare(), 0)
    details.hint = details.hint or "Sign in again with 'az login'."
    return nil, "the Azure CLI failed: " .. message, details
  elseif output:find("az login", 1, true) then
    local message = "nobody is signed in to the Azure CLI: sign in with 'az login'"
    return failed(message, "Sign in with 'az login'.")
  end
  return failed(complaint_of(output))
end

--- The token of the output, or nil, a sentence and details.
local function read(output, now)
  local answer = find_answer(output)
  if not answer then
    return failed "the Azure CLI's output holds no token that can be read"
  end
  local token =
    oauth.read_token { access_token = answer.accessToken, token_type = answer.tokenType }
  if not token then
    return failed "the Azure CLI's output holds no token that can be used"
  end
  return token, life_of(answer, now), {}
end

local function ask_azure_cli(checked, ask, resource, tenant)
  local run = checked.run or run_by_shell
  local ok, output, code = protected_call(run, command_line(checked, resource, tenant))
  if not ok then
    return failed "the function run raised an error" -- which may quote anything
  elseif type(output) ~= "string" then
    return failed "the Azure CLI could not be run"
  elseif code ~= 0 then
    return failure(output, code, checked)
  end
  return read(output, (ask.now or core.now)())
end

--- Why the command must not be run for this, or nil.
local function refusal(checked, ask, resource)
  local tenant = checked.tenant or ask.tenant
  local complaint = tenant and authority.tenant_complaint(tenant)
  if complaint then
    return "the tenant " .. complaint
  elseif not resource then
    return "the scope " .. scope_must
  elseif authority.scope_complaint(resource, ask.cloud or "global") then
    return "the scope " .. authority.scope_complaint(resource, ask.cloud or "global")
  elseif type(ask.claims) == "string" and ask.claims ~= "" then
    return "the tenant wants a new proof of who signs in, which the Azure CLI cannot be asked for: "
      .. "sign in again with 'az login'"
  elseif not checked.run and package.config:sub(1, 1) == "\\" then
    return "the Azure CLI cannot be run safely from here on Windows: set the option run"
  end
end

--- Makes a provider. Nothing is run yet.
---@param given autopilot.token.AzureCliOptions?
---@param level integer? where a mistake raises, as for `error`; default 2, the caller
---@return autopilot.TokenProvider
local function new(given, level)
  level = level or 2
  local checked = options.check(name, rules, given, level)
  return function(ask)
    local cloud = clouds[ask.cloud or "global"]
    local scope = checked.scope or ask.scope or (cloud and cloud.graph .. "/.default")
    local resource = scope and resource_of(scope)
    local tenant = checked.tenant or (ask.has_several and ask.tenant) or nil
    local message = refusal(checked, ask, resource)
    if message then
      return nil, message, { is_transient = false }
    end
    local token, expires_in, extra = ask_azure_cli(checked, ask, resource, tenant)
    if not token and extra.code == "TenantMismatch" and not ask.has_several then
      -- The token tells whether the machine's own tenant is the one that was meant.
      token, expires_in, extra = ask_azure_cli(checked, ask, resource)
    end
    return token, expires_in, extra
  end
end

return new
