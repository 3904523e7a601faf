--- Makes a token or a token provider for the command from its options and the environment.
--
-- A value that is missing or a file that cannot be read ends the command before anything is sent. Signing in itself is
-- left to `autopilot.token`.

local command_options = require "autopilot.cli.options"
local lazy = require "autopilot.base.lazy"
local named_file = require "autopilot.base.named_file"
local protected_call = require "autopilot.base.protected_call"
local write_file = require "autopilot.cli.output_file"

local secret_file = lazy "autopilot.token.secret_file"

local sign_in = {}

local unpack = table.unpack or unpack -- luacheck: compat

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
local no_way_for_many = "no way to sign in is given: choose one with --auth, or name a "
  .. "client_secret_file for each tenant in the list"
local nothing_described = "--auth env needs AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH or "
  .. "AZURE_FEDERATED_TOKEN_FILE"

--- Replaces the names of the library's options in a message by what the command takes in their place.
local function with_command_option(message)
  message = message:gsub("set allow_world_readable = true", "give --allow-world-readable")
  return (message:gsub("set the option passphrase", "set AZURE_CLIENT_CERTIFICATE_PASSWORD"))
end

--- Ends the command with an error about its options.
local function refuse(form, ...)
  command_options.refuse(with_command_option(form:format(...)))
end

-- Options that name a file, which must be readable; true: it must not be readable for every user of this machine.
local is_secret_file = { certificate = true, refresh_token_file = true, token_file = false }

--- The value of an option of the command, or of its variable, that must be set.
local function needed(name, options, context, title)
  local value, origin = context:find(options, name)
  if not value then
    refuse("%s needs %s", title, origin)
  end
  local is_secret = is_secret_file[name]
  local complaint = is_secret ~= nil and named_file.read_complaint(value)
  if complaint then
    refuse("%s cannot be read: %s", origin, complaint)
  end
  complaint = is_secret and not options.allow_world_readable and secret_file.exposure(value)
  if complaint then
    refuse("%s cannot be used: %s", origin, complaint)
  end
  return value
end

-- The functions of the ways to sign in. Each sets options of the provider in `given`, or ends the command with an
-- error if the command's options are wrong. `title` is the name of the way in messages.

local function find_secret(given, options, context, title)
  local path, secret, complaint = options.client_secret_file
  if not path then
    secret = context:variable "AZURE_CLIENT_SECRET"
    complaint = title .. " needs --client-secret-file or AZURE_CLIENT_SECRET"
  elseif path == "-" then
    secret, complaint = secret_file.only_line(context:read_input(longest + 1))
    complaint = complaint and "standard input " .. complaint
  else
    secret, complaint = secret_file.read_line(path, options.allow_world_readable)
    complaint = complaint and "--client-secret-file cannot be used: " .. complaint
  end
  context:hide(secret)
  given.client_secret = secret or refuse("%s", complaint)
end

local function allow_world_readable(given, options)
  given.allow_world_readable = options.allow_world_readable
end

local function find_passphrase(given, options, context)
  given.passphrase = context:variable "AZURE_CLIENT_CERTIFICATE_PASSWORD"
  allow_world_readable(given, options)
end

--- Sets functions that read the refresh token from its file, and that write a newer one to it; and the application's
-- secret or certificate, if the options or the environment contain one.
local function find_refresh_token(given, options, context, title)
  local path = options.refresh_token_file
  if options.certificate and options.client_secret_file then
    refuse "--certificate does not go with --client-secret-file"
  end
  local has_secret = options.client_secret_file or context:variable "AZURE_CLIENT_SECRET"
  if options.certificate or (not has_secret and context:find(options, "certificate")) then
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
    local complaint = write_file(path, token .. "\n", true)
    if complaint and complaint ~= complained then -- a fleet calls this for each tenant
      complained = complaint
      local sentence = "the newer refresh token could not be kept: %s: %s"
      context.output:complain(sentence:format(path, complaint))
    end
    assert(not complaint, complaint)
  end
end

--- Refuses several tenants, and a tenant that is named by a domain: the identity of this machine belongs to one
-- tenant, and only its id can be compared.
local function check_machine(_, options, context)
  local tenant, origin = context:find(options, "tenant")
  if context.has_several then
    refuse(one_tenants_machine)
  elseif tenant and not require("autopilot.graph.access_token").guid(tenant) then
    refuse(unchecked_domain, origin)
  end
end

--- Passes a tenant to az only if `--tenant` names it: az refuses any tenant when it is signed in with a managed
-- identity.
local function find_tenant_of_az(given, options, context)
  given.tenant = not context.has_several and options.tenant or nil
  given.client_id, given.getenv = nil, nil
end

--- Shows the message with the device code to the user.
local function show_code(given, _, context)
  function given.prompt(info)
    context.output:warn(info.message)
  end
end

-- The ways to sign in, by value of `--auth`: the function of `autopilot.token`; the command's options that must be set,
-- or their variables, each with its name as an option of that function if it is passed on; and what sets other options.
local ways = {
  secret = { "client_secret", "client_id tenant", find_secret },
  certificate = {
    "client_certificate",
    "certificate=certificate client_id tenant",
    find_passphrase,
  },
  workload = { "workload_identity", "token_file=token_file client_id tenant" },
  assertion = { "client_assertion", "assertion_variable=assertion client_id tenant" },
  github = { "github_actions", "client_id tenant" },
  pipelines = { "azure_pipelines", "service_connection=service_connection_id" },
  refresh = { "refresh_token", "refresh_token_file client_id", find_refresh_token },
  managed = { "managed_identity", "", check_machine },
  cli = { "azure_cli", "", find_tenant_of_az },
  device = { "device_code", "client_id", show_code },
  default = { "default", "", allow_world_readable },
}

--- Makes the token provider of a way to sign in. Its messages name the command's options instead of the library's.
local function open(name, options, context, title)
  local maker, needs, find = unpack(ways[name])
  local given = { client_id = context:find(options, "client_id"), getenv = context.getenv }
  if find then
    find(given, options, context, title)
  end
  for option, passed_as in needs:gmatch "([%l_]+)=?([%l_]*)" do
    local value = needed(option, options, context, title)
    given[passed_as] = passed_as ~= "" and value or nil
  end
  local made, result = protected_call(require("autopilot.token")[maker], given)
  if not made then
    refuse("%s", (tostring(result):gsub("^autopilot%.token%.[%w_]+:", title .. ":")))
  end
  return function(ask)
    local token, message, more = result(ask)
    if not token and type(message) == "string" then
      message = with_command_option(message)
    end
    return token, message, more
  end
end

-- What shows how to sign in, in the order in which it is looked for: an option, the variable that counts if no way is
-- chosen by an option, and the way.
local signs = {
  { option = "refresh_token_file", way = "refresh" },
  { option = "client_secret_file", variable = "AZURE_CLIENT_SECRET", way = "secret" },
  { option = "certificate", variable = "AZURE_CLIENT_CERTIFICATE_PATH", way = "certificate" },
  { option = "token_file", variable = "AZURE_FEDERATED_TOKEN_FILE", way = "workload" },
}

-- Variables that hold secrets of some way to sign in.
local secret_variables = {
  "AZURE_CLIENT_SECRET",
  "AZURE_CLIENT_CERTIFICATE_PASSWORD",
  "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
  "SYSTEM_ACCESSTOKEN",
}

--- Returns the way to sign in, a key of `ways`, and its name in messages. The options select it; without them, it is
-- nil if there is a ready token; without that, the environment selects it, and it is nil if that selects none.
local function choose_way(options, context)
  local way, chosen_by = options.auth, options.auth and "--auth " .. options.auth
  for _, sign in ipairs(signs) do
    local is_ready_token = sign.option == "token_file" and not way
    local is_proof = way == "refresh" and (sign.way == "secret" or sign.way == "certificate")
    if options[sign.option] and not is_ready_token and not is_proof then
      local option = "--" .. sign.option:gsub("_", "-")
      if way and way ~= sign.way then
        refuse("%s does not go with %s", option, chosen_by)
      end
      way, chosen_by = sign.way, chosen_by or option
    end
  end
  if way and way ~= "env" then
    return way, "--auth " .. way
  elseif not way and (options.token_file or context:variable "AUTOPILOT_TOKEN") then
    return nil
  end
  for _, sign in ipairs(signs) do
    if sign.variable and context:variable(sign.variable) then
      return sign.way, chosen_by or "signing in with " .. sign.variable
    end
  end
  return way and refuse(nothing_described)
end

--- Reads the ready token. Returns it, and whether it can be read again; or nil and what is wrong, without quoting it.
local function read_token(path, context)
  local text, origin, is_rereadable = context:variable "AUTOPILOT_TOKEN", "AUTOPILOT_TOKEN", false
  if path == "-" then
    text, origin = context:read_input(longest + 1), "standard input"
  elseif path then
    origin = "--token-file: " .. path
    text, is_rereadable = named_file.read(path, longest, true)
    if not text then
      return nil, "--token-file cannot be read: " .. is_rereadable
    end
  end
  local token, complaint = secret_file.only_line(text)
  if not token or token:find "%s" then
    return nil, ("%s %s"):format(origin, complaint or "must hold a token and nothing else")
  elseif #text > longest then
    return nil, origin .. " is too large for a token"
  end
  context:hide(token)
  return token, is_rereadable
end

--- Returns the ready token of `--token-file` or `AUTOPILOT_TOKEN`. For a file that can be read again it returns a
-- provider, which does so when the token was refused.
local function ready_token(path, context)
  local origin = path and "--token-file" or context:variable "AUTOPILOT_TOKEN" and "AUTOPILOT_TOKEN"
  if not origin then
    refuse(context.has_several and no_way_for_many or no_way)
  elseif context.has_several then
    refuse(one_tenants_token, origin)
  end
  local token, more = read_token(path, context)
  if not token then
    refuse("%s", more)
  elseif not more then
    return token
  end
  return function(ask)
    token = ask.refresh and read_token(path, context) or token
    return token
  end
end

--- Returns a token or a token provider: the way that `--auth` names or a file implies, else a ready token, else the
-- way that the environment describes. The secrets that were read are hidden in the context's output.
---@param options table<string, any>
---@param context autopilot.cli.Context with `has_several`, a way that can sign in to one tenant only is refused
---@return string|autopilot.TokenProvider
function sign_in.open(options, context)
  for _, name in ipairs(secret_variables) do
    context:hide(context:variable(name))
  end
  context:hide(options.assertion_variable and context:variable(options.assertion_variable))
  local way, title = choose_way(options, context)
  return way and open(way, options, context, title) or ready_token(options.token_file, context)
end

return sign_in
