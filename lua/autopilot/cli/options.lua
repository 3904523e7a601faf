--- The options of the commands: how their values are read, and those that several commands have.
--
-- A command describes its options in a text, in the words of its help:
--
--     Waiting:
--     --since TIME: A sync counts if it was triggered at this time
--       or later.
--     --no-wait: Do not wait for anything.
--
-- A line such as the first gives the options below it a heading in the help; without one that is `Options`.
-- How a value is read follows from the name of the option, else from the word for its value.

local mistake = require "autopilot.base.option_mistake"
local passwords = require "autopilot.base.passwords"
local text = require "autopilot.cli.text"

local options = {}

--- The environment variables, in the words of the help.
options.environment = [[
Environment:
   AUTOPILOT_TOKEN                    access token for Microsoft Graph
   AUTOPILOT_BASE_URL                 like --base-url
   AUTOPILOT_CA_FILE                  like --ca-file
   AUTOPILOT_STORE                    like --store; an address may contain a password here
   AUTOPILOT_DEBUG                    1: print a traceback after an internal error
   AZURE_TENANT_ID                    like --tenant
   AZURE_CLIENT_ID                    like --client-id
   AZURE_CLIENT_SECRET                secret of the application
   AZURE_CLIENT_CERTIFICATE_PATH      like --certificate
   AZURE_CLIENT_CERTIFICATE_PASSWORD  passphrase of the certificate's private key
   AZURE_FEDERATED_TOKEN_FILE         file with a token, for --auth workload
   AZURE_TOKEN_CREDENTIALS            dev, prod or a credential's name, for --auth default
   AZURE_AUTHORITY_HOST               where to sign in; default: by the cloud
   NO_COLOR                           any value: no colours

An option comes before its variable. An empty variable counts as not set.]]

--- The variables that give the value of an option that is not given, by option.
options.variables = {
  ["--token-file"] = "AZURE_FEDERATED_TOKEN_FILE",
  ["--service-connection"] = "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
}
for variable, option in options.environment:gmatch "([%u_]+) +like (%-%-[%l-]+)" do
  options.variables[option] = variable
end

-- About three years: longer than any wait, and far from every overflow.
local most_seconds = 1e8

--- Ends the command with an error about its arguments: raises a sentence, which `main` prints, or the form of one and
-- what is put into it.
function options.refuse(form, ...)
  error({ mistake = select("#", ...) > 0 and form:format(...) or form }, 0)
end

--- Refuses two options that are given together.
function options.exclude(given, one, other)
  if given[one] and given[other] then
    local sentence = ("options '--%s' and '--%s' exclude each other"):format(one, other)
    options.refuse((sentence:gsub("_", "-")))
  end
end

--- The time of `--since` in Unix seconds, or nil. A relative time counts back from `from`.
function options.since(given, from, now)
  if given.since then
    local since, complaint = text.read_since(given.since, from, now)
    return since or options.refuse("option '--since' " .. complaint)
  end
end

--- A function that makes converters for argparse from the name of an option. `read` returns the value of a text; or
-- nil, perhaps with a hint, where the text is not what it `must` be. A text that may be a secret is not quoted.
local function converter(must, read, is_secret)
  return function(name)
    return function(given)
      if given == "" then
        return nil, mistake.value(name, "must not be empty", given)
      end
      local value, hint = read(given)
      if value ~= nil then
        return value
      end
      return nil, mistake.value(name, "must " .. must, given, is_secret) .. (hint or "")
    end
  end
end

local duration_or_zero = converter("be a duration, 0 or more, such as 90s or 10m", function(given)
  local seconds = text.read_duration(given)
  return seconds and seconds <= most_seconds and seconds or nil
end)

local duration = converter("be a duration above 0, such as 90s or 10m", function(given)
  local seconds = text.read_duration(given)
  return seconds and seconds > 0 and seconds <= most_seconds and seconds or nil
end)

--- A time. It stays a text, because a relative time counts from when the command runs.
options.time = converter("be " .. text.time_forms, function(given)
  return text.read_time(given, 0) and given
end)

local any_text = converter("be a text", tostring)

--- A converter for a file, or the address of a database or proxy. It refuses a password, which other users could read;
-- the variable of that name may have one.
local function without_password(variable)
  local must = "not contain a password, which other users of this machine could read: "
    .. "it may be in the variable "
  return converter(must .. variable, function(given)
    return not passwords.find(given)[1] and given or nil
  end, true)
end

local function count_to(most)
  return converter(("be a whole number from 1 to %d"):format(most), function(given)
    local count = #given <= 9 and given:match "^%d+$" and tonumber(given)
    return count and count >= 1 and count <= most and count or nil
  end)
end

-- The words that an option accepts, by what makes its converter.
local words_of = {}

--- Makes converters that accept one of a few words, given with blanks between them.
---@return fun(name: string): fun(given: string): string?, string?
function options.one_of(words)
  local known, sorted = {}, {}
  for word in words:gmatch "%S+" do
    known[word], sorted[#sorted + 1] = word, word
  end
  local convert = converter("be one of " .. words:gsub(" ", ", "), function(given)
    local meant = not known[given] and mistake.nearest(given, sorted)
    return known[given], meant and (": did you mean '%s'?"):format(meant)
  end)
  words_of[convert] = sorted
  return convert
end

-- By the name of an option, else by the word for its value. Others accept any text.
local converters = {
  DURATION = duration,
  ["--max-age"] = duration_or_zero,
  ["--resume-within"] = duration_or_zero,
  ["--cooldown"] = duration_or_zero,
  ["--duration"] = duration_or_zero,
  TIME = options.time,
  STORE = without_password "AUTOPILOT_STORE",
  ["--state"] = without_password "PGPASSWORD",
  ["--proxy"] = without_password "HTTPS_PROXY",
  NUMBER = count_to(999999),
  ["--concurrency"] = count_to(10000),
  PORT = count_to(65535),
  WAY = options.one_of(
    "secret certificate workload assertion github pipelines managed cli device refresh env default"
  ),
  CLOUD = options.one_of "global us_gov us_gov_dod china",
  ["--operation"] = options.one_of "sync ensure status wait",
  ["--http-version"] = options.one_of "1.1 2",
  PLATFORM = options.one_of "imds app_service github pipelines",
}

--- Adds the options that a text describes to argparse's parser of a command. With `is_shown` they are not for parsing:
-- then argparse knows the words that they accept.
function options.declare(parser, described, is_shown)
  local groups = { { "Options" } }
  for line in described:gsub("\n  %*", "\1*"):gsub("\n  ", " "):gmatch "[^\n]+" do
    local name, metavariable, help = line:match "^(%-%-%S+) ?(%u*): (.+)$"
    if not name then
      groups[#groups + 1] = { line:match "^(.*):$" }
    else
      local element = metavariable == "" and parser:flag(name) or parser:option(name)
      element:description((help:gsub("\1", "\n")))
      if metavariable ~= "" then
        local convert = converters[name] or converters[metavariable] or any_text
        element:argname(metavariable):convert(convert(name))
        if is_shown and words_of[convert] then
          element:choices(words_of[convert])
        end
      end
      table.insert(groups[#groups], element)
    end
  end
  for _, group in ipairs(groups) do
    if group[2] then
      parser:group((table.unpack or unpack)(group)) -- luacheck: compat
    end
  end
end

--- The options of a command that talks to the service: how to sign in, and how to reach it.
options.service = [[
Signing in:
--auth WAY: How to sign in. Without it: as a file option implies, else with the token in
  AUTOPILOT_TOKEN, else env.
  * secret: with the application's secret
  * certificate: with the application's certificate
  * workload: with a token in a file, from Kubernetes or a build server
  * assertion: with a token in an environment variable, from a build server
  * github: as the job of GitHub Actions that runs this
  * pipelines: as a service connection of the job of Azure Pipelines that runs this
  * managed: as the managed identity of this Azure machine
  * cli: as the application or managed identity that is signed in to the Azure CLI; a person's
  sign-in there cannot be given the permission
  * device: a person signs in on a web page, with a code that is shown here
  * refresh: for a partner's person, with a refresh token for the tenants of all customers
  * env: with what the AZURE_ variables hold
  * default: the first of env, workload, managed and cli that works, of those in
  AZURE_TOKEN_CREDENTIALS
--client-id ID: Id of the application to sign in as, or of a user-assigned managed identity.
  Default: AZURE_CLIENT_ID.
--client-secret-file FILE: File with the application's secret and nothing else. With - it is read
  from standard input. Implies --auth secret. Default: the secret in AZURE_CLIENT_SECRET.
--certificate FILE: PEM or PFX file with the application's certificate and private key. Implies
  --auth certificate. Default: AZURE_CLIENT_CERTIFICATE_PATH.
--token-file FILE: File with an access token for Microsoft Graph. With - it is read from standard
  input. Default: the token in AUTOPILOT_TOKEN. With --auth workload, the file with the token of
  the platform; default: AZURE_FEDERATED_TOKEN_FILE.
--refresh-token-file FILE: File with a refresh token and nothing else. A newer one replaces it.
  Implies --auth refresh, which also takes --client-secret-file or --certificate.
--assertion-variable NAME: The environment variable that holds the token, for --auth assertion.
--service-connection ID: Id of the service connection, for --auth pipelines. Default:
  AZURESUBSCRIPTION_SERVICE_CONNECTION_ID.
--allow-world-readable: Accept a file with a secret or private key that every user of this machine
  can read. Without it, such a file is refused.
The service:
--cloud CLOUD: Microsoft cloud of the tenant: global (default), us_gov, us_gov_dod or china.
--base-url URL: Address of Microsoft Graph, or of a service that stands in for it, without a path.
  Default: AUTOPILOT_BASE_URL, else the address of the cloud.
--ca-file FILE: PEM file with the certificate authorities to trust, instead of those of this
  machine. Default: AUTOPILOT_CA_FILE.
--proxy URL: Proxy to use, such as http://proxy.example:3128, or none. Default: as HTTPS_PROXY and
  NO_PROXY say. A password of the proxy may be in HTTPS_PROXY only.
--store STORE: Where processes or machines share what is known of tenants, so that one of them asks
  at a time: an SQLite file, redis[s]://… or postgresql://… without a password. Default:
  AUTOPILOT_STORE, else nothing is shared.
--cooldown DURATION: How long the service refuses another sync of a tenant. Default: 10m.
--timeout DURATION: How long one request may take. Default: 60s.
--attempts NUMBER: How often a request is sent at most, if it fails for a passing reason.
  Default: 4.
]]

--- The options of a command for one tenant.
options.one_tenant = [[
The tenant:
--tenant ID: The tenant, by its id (a GUID) or one of its domains. A token of a tenant with another
  id is not sent. Default: AZURE_TENANT_ID.
]] .. options.service

return options
