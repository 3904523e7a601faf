--- Signs in as the account of this machine's Azure CLI: `az account get-access-token`.
--
-- A person's account gets a token that Intune refuses: the CLI's own application has no permission for it,
-- and none can be added (AADSTS65002). Accounts of service principals and managed identities do work.
-- `io.popen` runs the command; everything else in this Lua, in OpenResty the whole worker, waits some
-- seconds until `az` has ended.
--
-- Only checked values reach the shell, and they are quoted as well; no secret is among them. What `az`
-- prints on success is not repeated in any message.

local authority = require "autopilot.token.authority"
local core = require "autopilot.core"
local endpoint = require "autopilot.token.endpoint"
local json = require "autopilot.base.json"
local merged = require "autopilot.base.merged"
local protected_call = require "autopilot.base.protected_call"
local provider = require "autopilot.token.provider"

local fail, need, shell_word = provider.fail, provider.need, provider.shell_word

---@class autopilot.token.AzureCliOptions
---@field tenant string? default: that of the account; az refuses it when it is signed in by identity
---@field scope string? default: that of the client
---@field command string? the program, a name or a path; default `az`
---@field timeout number? seconds, where the machine has Unix's `timeout` command; default 30
--- Runs a command line of the POSIX shell; default `io.popen`. It may yield.
---@field run (fun(command_line: string): string?, integer?)? gives output, errors among it, and exit code

-- Bytes of what `az` prints, and lines of warnings before its answer.
local longest_output, most_lines = 256 * 1024, 200

-- Before Lua 5.2, closing a pipe does not return the exit code: so the command prints it last.
local report_exit = [[; printf '\nautopilot-sync: exit %d\n' $?]]

--- The resource to ask a token for: the scope without its last part; nil when it is not safe in a shell.
local function resource_of(scope)
  local resource = scope:gsub("/%.default$", "")
  local host, rest = resource:match "^https://(%w[%w.-]*)(.*)$"
  local path = rest and rest:gsub("^:%d%d?%d?%d?%d?", "")
  local is_right = path and #host <= 253 and (path == "" or path:find "^/[%w._~/-]*$")
  return is_right and #resource <= 1000 and resource or nil
end

local scope_must = "must be an https URL of letters, digits and -._~/ for the Azure CLI"

local rules = {
  tenant = authority.common.tenant,
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

-- ---- What it prints ----------------------------------------------------------------------------------

--- The JSON object with the token, which warnings may precede; nil when there is none.
local function find_answer(output)
  local position, lines = 1, 0
  while position and lines < most_lines and #output <= longest_output do
    local answer = json.decode(output:match("^%s*(%b{})", position))
    if type(answer) == "table" and answer.accessToken ~= nil then
      return answer
    end
    position, lines = output:match("\n()", position), lines + 1
  end
end

--- The error that `az` reports: the text behind "ERROR:". If that only announces a traceback of Python, or is missing:
-- the last line that begins like an exception, else the last line. Nil if there is no text.
local function error_in(output)
  local text = output:gsub("\27%[[%d;]*m", "")
  local line, exception = text:match "ERROR:%s*([^\r\n]+)", nil
  if not line or line:find "Traceback" or line:find "The command failed with" then
    for other in text:gmatch "[^\r\n]+" do
      line = other
      exception = other:find "^[%w_.]+: " and not other:find "^WARNING" and other or exception
    end
  end
  return provider.cleaner()(((exception or line or ""):gsub("^%s*ERROR:%s*", "")))
end

-- The error of `az` when it does not accept `--tenant`.
local takes_no_tenant = "Tenant shouldn't be specified"

--- Ends the sign-in with a message about a command that failed.
local function fail_with(output, code, checked)
  local description = output:match "AADSTS%d+:[^\r\n]*"
  if code == 126 or code == 127 then -- of a shell: the program cannot be run, or was not found
    local message = "the Azure CLI was not found: there is no program '%s' to run"
    local hint = "Install the Azure CLI, or sign in another way."
    fail(message:format(checked.command:sub(1, 200)), { hint = hint })
  elseif code == 124 then -- of the `timeout` command: the time was over
    local message = "the Azure CLI did not answer within %d s"
    fail(message:format(math.ceil(checked.timeout)), { is_transient = true })
  elseif output:find('"accessToken"', 1, true) then
    fail "the Azure CLI failed"
  elseif output:find(takes_no_tenant, 1, true) then
    fail("the Azure CLI is signed in by identity, to the machine's own tenant only", {
      hint = "Sign in another way, or name no tenant, or a single one by its id.",
      code = "TenantMismatch",
    })
  elseif description then
    local answer = { status = 400, headers = {}, object = { error_description = description } }
    local message, details = endpoint.refusal(answer, provider.cleaner(), 0)
    details.hint = details.hint or "Sign in again with 'az login'."
    fail("the Azure CLI failed: " .. message, details)
  elseif output:find("az login", 1, true) then
    local message = "nobody is signed in to the Azure CLI: sign in with 'az login'"
    fail(message, { hint = "Sign in with 'az login'." })
  end
  local line = error_in(output)
  fail("the Azure CLI failed" .. (line and ": " .. line or " and did not say why"))
end

-- ---- Running it --------------------------------------------------------------------------------------

--- The arguments of `az`, as `quote` writes a word for the shell.
local function arguments(quote, resource, tenant)
  return "account get-access-token -o json --resource "
    .. quote(resource)
    .. (tenant and " --tenant " .. quote(tenant) or "")
end

--- Runs a command line of the system's shell to its end. Returns output and exit code, the latter not before Lua 5.2;
-- nil when it could not be run.
local function run_line(line)
  local can_run, pipe = pcall(io.popen, line, "r")
  if not can_run or not pipe then
    return nil
  end
  local output = pipe:read(longest_output + 1) or ""
  local _, _, code = pipe:close()
  return output, code
end

--- Runs a command line of the POSIX shell.
local function run_by_shell(line)
  local output = run_line(line .. report_exit)
  local printed, code = (output or ""):match "^(.*)\nautopilot%-sync: exit (%d+)\n$"
  return printed or output, tonumber(code)
end

-- Beside `az.cmd` there is an `az` without an ending, for Unix shells.
local windows_endings = { ".cmd", ".exe", "" }

--- Returns the path of a program on Windows. A name without a folder is searched for in the folders of PATH only: the
-- shell would search the current folder first, where another user may have put a program of that name. Returns nil if
-- the program was not found, or if its path has characters that the shell interprets even in quotes.
local function find_on_windows(program)
  local folders = program:find "[\\/:]" and ";" or os.getenv "PATH" or ""
  for folder in (folders .. ";"):gmatch '"?([^;"]*)"?;' do
    local is_whole = folder:find "^%a:[\\/]" or folder:find "^\\\\"
    for _, ending in ipairs((is_whole or folders == ";") and windows_endings or {}) do
      local file = (is_whole and folder .. "\\" or "") .. program .. ending
      if not file:find '["%%!]' and core.file_kind(file, true) == "file" then
        return file
      end
    end
  end
end

local function windows_word(text)
  return '"' .. text .. '"'
end

--- Runs `az` by Windows' shell, which removes the outer quotes.
local function run_on_windows(checked, resource, tenant)
  local file = find_on_windows(checked.command)
  if not file then
    return "", 127
  end
  local line = windows_word(file) .. " " .. arguments(windows_word, resource, tenant)
  return run_line(windows_word(line .. " <nul 2>&1"))
end

--- Runs `az` by the POSIX shell.
local function run_on_unix(checked, resource, tenant)
  local line = "if command -v timeout >/dev/null 2>&1; then limit='timeout %d'; else limit=; fi; "
    .. "$limit %s %s </dev/null 2>&1"
  local words = arguments(shell_word, resource, tenant)
  line = line:format(math.ceil(checked.timeout), shell_word(checked.command), words)
  return (checked.run or run_by_shell)(line)
end

--- Runs `az`. Returns output and exit code, which is guessed from the output if it is not known.
local function run_az(checked, resource, tenant)
  local is_windows = not checked.run and package.config:sub(1, 1) == "\\"
  local run = is_windows and run_on_windows or run_on_unix
  local ok, output, code = protected_call(run, checked, resource, tenant)
  need(ok, "the function run raised an error") -- not repeated: it may quote anything
  need(type(output) == "string", "the Azure CLI could not be run")
  return output, code or (find_answer(output) and 0 or 1)
end

return provider.kind("azure_cli", rules, function(checked)
  return function(ask)
    local tenant = authority.tenant(checked, ask)
    local resource = need(resource_of(authority.scope(checked, ask)), "the scope " .. scope_must)
    if ask.claims then
      fail(
        "the tenant wants a new proof of who signs in, which the Azure CLI cannot be asked for: "
          .. "sign in again with 'az login'"
      )
    end
    local named = (checked.tenant or ask.has_several) and tenant or nil
    local left = ask.deadline and ask.deadline - ask.now() or math.huge
    local limited = merged(checked, { timeout = math.min(checked.timeout, left) })
    local output, code = run_az(limited, resource, named)
    local is_id = named and not ask.has_several and named:find "^%x+%-%x+%-%x+%-%x+%-%x+$"
    if is_id and code ~= 0 and output:find(takes_no_tenant, 1, true) then
      -- The token has the id of the machine's own tenant, which is compared. It does not contain the domain.
      output, code = run_az(limited, resource)
    end
    if code ~= 0 then
      fail_with(output, code, limited)
    end
    local whose = "the Azure CLI's output"
    local answer = need(find_answer(output), whose .. " holds no token that can be read")
    -- Before az 2.54 there is no `expires_on`. `expiresOn` is not read: it is in local time, in which an hour comes
    -- twice when summer time ends. The cache then reads the expiry in the token itself.
    return endpoint.read_token({
      access_token = answer.accessToken,
      token_type = answer.tokenType,
      expires_on = answer.expires_on,
    }, ask.now(), whose)
  end
end)
