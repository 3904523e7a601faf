--- What the providers of this folder share: how the providers of one kind are made, how a sign-in fails, and
-- how foreign text becomes part of a message.

local core = require "autopilot.core"
local merged = require "autopilot.base.merged"
local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"
local redact = require "autopilot.base.redact"
local sentence = require "autopilot.base.sentence"

local provider = {}

--- The rule of an option that is a provider. A token may be given by mistake, so what was given is never quoted.
---@type autopilot.OptionRule
provider.rule =
  { type = "function", required = true, secret = true, check = options.provider_complaint }

-- Characters of a message, which is a part of one line of a report.
local longest_message = 300

-- The metatable of what `provider.fail` raises.
local Failure = {}

--- Ends the sign-in: raises, and the provider, which `provider.kind` has made, returns nil, message and details.
---@param message string one line, without a secret
---@param details table? fields of `autopilot.token.Details`; `is_transient` is false by default
function provider.fail(message, details)
  error(setmetatable({ message = message, details = details }, Failure), 0)
end

--- Returns the value, like `assert`; ends the sign-in where it is nil or false.
---@generic T
---@param value T?
---@return T value
function provider.need(value, message, details)
  return value or provider.fail(message, details)
end

--- The results of a provider after the sign-in has succeeded or failed.
local function results_of(ok, ...)
  if ok then
    return ...
  end
  local raised = ...
  if getmetatable(raised) ~= Failure then
    error(raised, 0)
  end
  return nil, raised.message, merged({ is_transient = false }, raised.details)
end

--- Calls a function, and returns its results; nil, message and details where it has ended the sign-in.
function provider.results(provide, ...)
  return results_of(protected_call(provide, ...))
end

--- Returns the function that makes the providers of one kind from their options. A mistake in the options
-- raises at its caller's line. A provider reads and sends nothing before it is asked, nor after the deadline; it is
-- asked with `now`.
---@param name string
---@param rules table<string, autopilot.OptionRule>
---@param make fun(checked: table): autopilot.TokenProvider?, string? returns nil and a sentence for a mistake
---@return fun(given: table?, level: integer?): autopilot.TokenProvider new `level` as for `error`, default 2
function provider.kind(name, rules, make)
  name = "autopilot.token." .. name
  return function(given, level)
    level = level or 2
    local provide, mistake = make(options.check(name, rules, given, level))
    if not provide then
      error(name .. ": " .. mistake, level)
    end
    return function(ask)
      ask = ask.now and ask or merged(ask, { now = core.now })
      if ask.deadline and ask.now() >= ask.deadline then
        return nil, "the deadline passed before the token was there", { is_transient = true }
      end
      return provider.results(provide, ask)
    end
  end
end

--- Makes a function that turns text from outside into one clean line of bounded length without secrets.
-- It returns nil for anything but text, and if nothing is left. Secrets are removed before the text is cut,
-- because the rest of a secret may be too short to be recognized.
---@param secrets string[]?
---@return fun(text: any, limit: integer?): string? clean
function provider.cleaner(secrets)
  local redacted = redact.prepare(secrets)
  return function(text, limit)
    if type(text) == "string" then
      return sentence.clean(redacted(text), limit or longest_message)
    end
  end
end

--- The secret that was given as a text, or that the user's function returns. Its error is not repeated,
-- because that may quote the secret.
---@param option string by which it was given
---@param given string|function
---@param check (fun(text: string): string?)? returns what the text of a function must be, or nil when it is right
---@return string text
function provider.ask_user(option, given, ask, check)
  if type(given) == "string" then
    return given
  end
  local ok, text, message = protected_call(given, ask)
  if ok and type(text) == "string" and not (check and check(text)) then
    return text
  end
  local said = ok and provider.cleaner()(message)
  local what = option:gsub("^client_", ""):gsub("_", " ")
  local problem = ("the function %s gave no %s"):format(option, what)
  return provider.fail(problem .. (said and ": " .. said or ""))
end

--- Sleeps before a request is sent again, until the deadline at most: others that wait for this sign-in see by the
-- deadline that it lacked time. Returns whether the request may be sent; if not, the last answer is the result.
function provider.pause(ask, seconds)
  local left = ask.deadline and ask.deadline - ask.now() or math.huge
  if ask.sleep then
    ask.sleep(math.min(seconds, left))
  end
  return ask.sleep and seconds < left
end

--- The text as one quoted word for the POSIX shell.
function provider.shell_word(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Modules of luaossl by their names, as `cipher`: an optional dependency, through which OpenSSL is used.
---@param ... string
---@return table<string, table>? modules, string? message what is missing
function provider.luaossl(...)
  local modules = {}
  for _, name in ipairs { ... } do
    local ok, module = pcall(require, "openssl." .. name)
    if not ok then
      return nil,
        "needs luaossl, which is not installed: take the package lua-luaossl (Debian, Ubuntu) or "
          .. "the rock luaossl"
    end
    modules[name] = module
  end
  return modules
end

-- The providers that get tokens from elsewhere, by their names in `autopilot.token`, with the modules that make them.
provider.modules = {
  client_secret = "application",
  client_certificate = "application",
  client_assertion = "application",
  workload_identity = "application",
  github_actions = "application",
  azure_pipelines = "application",
  refresh_token = "refresh_token",
  managed_identity = "managed_identity",
  azure_cli = "azure_cli",
  device_code = "device_code",
  environment = "environment",
  default = "environment",
}

--- The function that makes the providers of one kind.
---@param name string in `provider.modules`
---@return fun(given: table?, level: integer?): autopilot.TokenProvider new
function provider.maker(name)
  local module = require("autopilot.token." .. provider.modules[name])
  return type(module) == "table" and module[name] or module
end

--- Makes a provider by its name, for those that choose among several. Options that do not suit it are not
-- the caller's mistake then: the provider fails with that message when it is asked.
---@param name string
---@param given table its options
---@param prefix string? of the message
---@return autopilot.TokenProvider
function provider.open(name, given, prefix)
  local made, result = pcall(provider.maker(name), given)
  return made and result
    or function()
      return nil, (prefix or "") .. tostring(result), { is_transient = false }
    end
end

return provider
