--- Makes a token or a token provider for the command from its options and the environment.
--
-- A value that is missing or a file that cannot be read ends the command before anything is sent. Signing in itself is
-- left to `autopilot.token`.

local core = require "autopilot.core"
local lazy = require "autopilot.base.lazy"
local named_file = require "autopilot.base.named_file"
local protected_call = require "autopilot.base.protected_call"
local refuse = require("autopilot.cli.options").refuse

local secret_file = lazy "autopilot.token.secret_file"

local sign_in = {}

-- Bytes. Access tokens have a few thousand.
local longest = 64 * 1024

-- The longer error messages about the options.
local one_tenants_token = "%s is the token of one tenant, and there are many: choose how to sign "
  .. "in with --auth"
local one_tenants_machine = "--auth managed signs in to the tenant of this machine alone, and "
  .. "there are many: choose another way with --auth"
local unchecked_domain = "%s must be the tenant's id with --auth managed, which signs in to the "
  .. "tenant of this machine: whether a domain is that tenant's cannot be checked"
local no_way = "there is no token: sign in as an application with --client-id and "
  .. "--client-secret-file, or in another way with --auth; or give a token in AUTOPILOT_TOKEN or "
  .. "by --token-file"
local no_way_for_many = "it is not said how to sign in: choose with --auth, or name a "
  .. "client_secret_file for each tenant in the list"

--- Replaces the names of the library's options in a message by what the command takes in their place.
local function with_command_option(message)
  message = message:gsub("set allow_world_readable = true", "give --allow-world-readable")
  return (message:gsub("set the option passphrase", "set AZURE_CLIENT_CERTIFICATE_PASSWORD"))
end

-- The functions `find` of the ways to sign in. Each sets options of the provider in `given`, or ends the command with
-- an error if the command's options are wrong. `title` is the name of the way in messages.

local function find_secret(given, options, context, title)
  local path, secret, message = options.client_secret_file
  if not path then
    secret = context:variable "AZURE_CLIENT_SECRET"
    message = not secret and title .. " needs --client-secret-file or AZURE_CLIENT_SECRET"
  elseif path == "-" then
    secret = context:read_input(longest + 1):match "^%s*(.*%S)" or ""
    message = (secret == "" or secret:find "%c") and "standard input must hold the secret alone"
  else
    secret, message = secret_file.read_line(path, options.allow_world_readable)
    message = message and "--client-secret-file cannot be used: " .. with_command_option(message)
  end
  context:hide(secret)
  if message then
    refuse(message)
  end
  given.client_secret = secret
end

local function allow_world_readable(given, options)
  given.allow_world_readable = options.allow_world_readable
end

local function find_passphrase(given, options, context)
  given.passphrase = context:variable "AZURE_CLIENT_CERTIFICATE_PASSWORD"
  allow_world_readable(given, options)
end

--- The value of an option of the command, or of its variable, that must be set. A file must be readable, and one with a
-- secret must not be readable for every user of this machine.
local function needed(name, options, context, title)
  local value, origin = context:find(options, name)
  if not value then
    refuse(("%s needs %s"):format(title, origin))
  end
  local has_secret = name == "certificate" or name == "refresh_token_file"
  local complaint = (has_secret or name == "token_file") and named_file.read_complaint(value)
  if complaint then
    refuse(("%s cannot be read: %s"):format(origin, complaint))
  end
  complaint = has_secret and not options.allow_world_readable and secret_file.exposure(value)
  if complaint then
    refuse(("%s cannot be used: %s"):format(origin, with_command_option(complaint)))
  end
  return value
end

--- Replaces a file by a new one with this text, which only its owner can read. The file is replaced in one step,
-- except on Windows. A symbolic link is refused, because the link would be replaced, and its target kept.
local function replace(path, text)
  local complaint = named_file.write_complaint(path)
  if complaint then
    error(("%s: %s"):format(path, complaint), 0)
  end
  local new = path .. ".new"
  assert(core.make_private(new), new .. " cannot be made")
  local file = assert(io.open(new, "wb"))
  local written, failure = file:write(text, "\n")
  local closed, message = file:close()
  if not (written and closed) then
    os.remove(new)
    error(("%s: %s"):format(new, failure or message), 0)
  elseif package.config:sub(1, 1) == "\\" then
    os.remove(path) -- Windows does not rename to the name of an existing file
  end
  assert(os.rename(new, path))
end

--- Sets functions that read the refresh token from its file, and that write a newer one to it; and the application's
-- secret or certificate, if the options or the environment contain one.
local function find_refresh_token(given, options, context, title)
  local path, has_certificate = options.refresh_token_file, context:find(options, "certificate")
  local has_secret = options.client_secret_file or context:variable "AZURE_CLIENT_SECRET"
  if options.certificate or (has_certificate and not has_secret) then
    given.certificate = needed("certificate", options, context, title)
    find_passphrase(given, options, context)
  elseif has_secret then
    find_secret(given, options, context, title)
  end
  function given.refresh_token()
    local token, message = secret_file.read_line(path, options.allow_world_readable)
    context:hide(token)
    return token, message
  end
  local complained
  function given.on_rotation(token)
    context:hide(token)
    local is_kept, message = protected_call(replace, path, token)
    if not is_kept and message ~= complained then -- a fleet calls this for each tenant
      complained = message
      context.output:complain("the newer refresh token could not be kept: " .. message)
    end
    assert(is_kept, message)
  end
end

--- Hides the assertion in all output. The provider reads it itself.
local function find_assertion(_, options, context)
  context:hide(context:variable(options.assertion_variable or ""))
end

--- Refuses several tenants, and a tenant that is named by a domain: the identity of this machine belongs to one
-- tenant, and only its id can be compared.
local function check_machine(_, options, context)
  local tenant, origin = context:find(options, "tenant")
  if options.has_several then
    refuse(one_tenants_machine)
  elseif tenant and not require("autopilot.graph.access_token").guid(tenant) then
    refuse(unchecked_domain:format(origin))
  end
end

--- Passes a tenant to az only if `--tenant` names it: az refuses any tenant when it is signed in with a managed
-- identity.
local function find_tenant_of_az(given, options)
  given.tenant = not options.has_several and options.tenant or nil
  given.client_id, given.getenv = nil, nil
end

--- Shows the message with the device code to the user.
local function show_code(given, _, context)
  function given.prompt(info)
    context.output:warn(info.message)
  end
end

-- The ways to sign in, by value of `--auth`. [1] is the name of the function of `autopilot.token`. `needs` lists the
-- command's options that must be set, or their variables. `find` sets other options of that function.
local ways = {
  secret = { "client_secret", needs = "client_id tenant", find = find_secret },
  certificate = {
    "client_certificate",
    needs = "certificate client_id tenant",
    find = find_passphrase,
  },
  workload = { "workload_identity", needs = "token_file client_id tenant" },
  assertion = {
    "client_assertion",
    needs = "assertion_variable client_id tenant",
    find = find_assertion,
  },
  github = { "github_actions", needs = "client_id tenant" },
  pipelines = { "azure_pipelines", needs = "service_connection" },
  refresh = {
    "refresh_token",
    needs = "refresh_token_file client_id",
    find = find_refresh_token,
  },
  managed = { "managed_identity", needs = "", find = check_machine },
  cli = { "azure_cli", needs = "", find = find_tenant_of_az },
  device = { "device_code", needs = "client_id", find = show_code },
  default = { "default", needs = "", find = allow_world_readable },
}

-- The command's options that are passed on unchanged, with their names in `autopilot.token`.
local handed = {
  certificate = "certificate",
  token_file = "token_file",
  assertion_variable = "assertion",
  service_connection = "service_connection_id",
}

--- Makes the token provider of a way to sign in. Its messages name the command's options instead of the library's.
local function open(name, options, context, title)
  local way = ways[name]
  local given = { client_id = context:find(options, "client_id"), getenv = context.getenv }
  if way.find then
    way.find(given, options, context, title)
  end
  for option in way.needs:gmatch "%S+" do
    local value = needed(option, options, context, title)
    if handed[option] then
      given[handed[option]] = value
    end
  end
  local made, result = pcall(require("autopilot.token")[way[1]], given)
  if not made then
    refuse((tostring(result):gsub("^autopilot%.token%.[%w_]+:", title .. ":")))
  end
  return function(ask)
    local token, message, more = result(ask)
    if not token and type(message) == "string" then
      message = with_command_option(message)
    end
    return token, message, more
  end
end

-- Options that imply a way to sign in, in the order in which they are checked, each with that way.
local implying = {
  { "refresh_token_file", "refresh" },
  { "client_secret_file", "secret" },
  { "certificate", "certificate" },
  { "token_file", "workload" },
}

-- Variables that hold secrets of some way to sign in.
local secret_variables = {
  "AZURE_CLIENT_SECRET",
  "AZURE_CLIENT_CERTIFICATE_PASSWORD",
  "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
  "SYSTEM_ACCESSTOKEN",
}

-- Variables that describe a way to sign in, each with that way. The first one that is set counts.
local describing = {
  { "AZURE_CLIENT_SECRET", "secret" },
  { "AZURE_CLIENT_CERTIFICATE_PATH", "certificate" },
  { "AZURE_FEDERATED_TOKEN_FILE", "workload" },
}
local nothing_described = "--auth env needs AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH or "
  .. "AZURE_FEDERATED_TOKEN_FILE"

--- Returns the way to sign in that the options or the environment select, and its name in messages; nil if none
-- does, or if there is a ready token.
local function choose_way(options, context)
  local way, by = options.auth, "--auth " .. (options.auth or "")
  for _, pair in ipairs(implying) do
    local name, implied = pair[1], pair[2]
    local is_ready_token = name == "token_file" and not way
    local is_proof = way == "refresh" and (name == "client_secret_file" or name == "certificate")
    if options[name] and not is_ready_token and not is_proof then
      local option = "--" .. name:gsub("_", "-")
      if way and way ~= implied then
        refuse(("%s does not go with %s"):format(option, by))
      end
      way, by = implied, way and by or option
    end
  end
  if way and way ~= "env" then
    return way, "--auth " .. way
  end
  local has_token = not way and (options.token_file or context:variable "AUTOPILOT_TOKEN")
  for _, pair in ipairs(has_token and {} or describing) do
    if context:variable(pair[1]) then
      return pair[2], way and by or "signing in with " .. pair[1]
    end
  end
  if way then
    refuse(nothing_described)
  end
end

--- Returns the token in a text; or nil and what is wrong with the text, without quoting it.
local function token_of(text, context)
  local token = text:match "^%s*(.*%S)" or ""
  if token == "" then
    return nil, "is empty"
  elseif token:find "[%s%c]" then
    return nil, "must hold a token and nothing else"
  elseif #text > longest then
    return nil, "is too large for a token"
  end
  context:hide(token)
  return token
end

--- Returns the ready token of `--token-file` or `AUTOPILOT_TOKEN`. For a file that can be read again it returns a
-- provider, which does so when the token was refused.
local function ready_token(options, context)
  local path, text = options.token_file, context:variable "AUTOPILOT_TOKEN"
  local origin = path and "--token-file" or text and "AUTOPILOT_TOKEN"
  if not origin then
    refuse(options.has_several and no_way_for_many or no_way)
  elseif options.has_several then
    refuse(one_tenants_token:format(origin))
  end
  local is_rereadable
  if path == "-" then
    origin, text = "standard input", context:read_input(longest + 1)
  elseif path then
    origin = "--token-file: " .. path
    text, is_rereadable = named_file.read(path, longest, true)
    if not text then
      refuse("--token-file cannot be read: " .. is_rereadable)
    end
  end
  local token, message = token_of(text, context)
  if not token then
    refuse(("%s %s"):format(origin, message))
  elseif not is_rereadable then
    return token
  end
  return function(ask)
    local newer = ask.refresh and named_file.read(path, longest, true)
    token = newer and token_of(newer, context) or token
    return token
  end
end

--- Returns a token or a token provider: the way that `--auth` names or a file implies, else a ready token, else the
-- way that the environment describes. The secrets that were read are hidden in the context's output.
---@param options table<string, any> with `has_several` true, a way that can sign in to one tenant only is refused
---@param context autopilot.cli.Context
---@return string|autopilot.TokenProvider
function sign_in.open(options, context)
  for _, name in ipairs(secret_variables) do
    context:hide(context:variable(name))
  end
  local way, title = choose_way(options, context)
  return way and open(way, options, context, title) or ready_token(options, context)
end

return sign_in
