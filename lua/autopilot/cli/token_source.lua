--- Where the command has its token from: a string or a provider for `autopilot.client`.
--
-- The sources are tried in the order of the list below; the first that the user has chosen, by an option
-- or by the environment, is the one. A further way to sign in is an entry there, with its options.

local input_file = require "autopilot.cli.input_file"
local sign_in = require "autopilot.cli.sign_in"
local values = require "autopilot.cli.values"

local token_source = {}

-- Access tokens have a few thousand bytes; an endless input is no token.
local longest = 64 * 1024

--- The token that a text holds, or nil and what is wrong with the text, without a word of it.
local function token_of(text)
  local token = text:match "^%s*(.-)%s*$"
  if token == "" then
    return nil, "is empty"
  elseif token:find "[%s%c]" then
    return nil, "must hold a token and nothing else"
  elseif #text > longest then
    return nil, "is too large for a token"
  end
  return token
end

--- A provider of the token in a file: when the service refuses it, the file may hold a newer one.
local function rereading(path, token, secrets)
  return function(ask)
    local text = ask.refresh and input_file.read(path, longest)
    local newer = text and token_of(text)
    if newer and newer ~= token then
      token = newer
      secrets[#secrets + 1] = token
    end
    return token
  end
end

local function from_file(path, context)
  local text, rereadable = input_file.read(path, longest)
  if not text then
    return nil, "--token-file cannot be read: " .. rereadable
  end
  local token, message = token_of(text)
  if not token then
    return nil, ("--token-file: %s %s"):format(path, message)
  end
  context.secrets[#context.secrets + 1] = token
  return rereadable and rereading(path, token, context.secrets) or token
end

local function from_text(text, name, context)
  local token, message = token_of(text)
  if not token then
    return nil, ("%s %s"):format(name, message)
  end
  context.secrets[#context.secrets + 1] = token
  return token
end

--- Each answers with a token or provider, nil when it was not chosen, or nil and what is wrong.
local sources = {
  --- `--auth WAY`, or a file that says which way: signs in.
  sign_in.by_options,
  --- `--token-file FILE`: a ready token, in a file that only its owner can read, or through a pipe.
  function(options, context)
    local path = options.token_file
    if path == "-" then
      return from_text(context.stdin:read(longest + 1) or "", "standard input", context)
    elseif path then
      return from_file(path, context)
    end
  end,
  --- `AUTOPILOT_TOKEN`: a ready token.
  function(_, context)
    local text = context.getenv "AUTOPILOT_TOKEN"
    if text and text ~= "" then
      return from_text(text, "AUTOPILOT_TOKEN", context)
    end
  end,
  --- `AZURE_CLIENT_SECRET` and its like: signs in.
  sign_in.by_environment,
}

--- Adds the options of all sources.
---@param parser table of argparse
function token_source.declare(parser)
  sign_in.declare(parser)
  local option = values.declarer(parser)
  option(
    "--token-file",
    "FILE",
    "Read the access token from there; - is standard input. Default: AUTOPILOT_TOKEN. With "
      .. "--auth workload: the token of the platform.",
    values.text
  )
end

--- The token, or a provider of it, that options and environment choose.
---@param options table<string, any>
---@param context autopilot.cli.Context takes the secrets that were read
---@return string|autopilot.TokenProvider|nil token
---@return string? mistake one sentence, without a secret
function token_source.open(options, context)
  for _, source in ipairs(sources) do
    local token, mistake = source(options, context)
    if token then
      return token
    elseif mistake then
      return nil, mistake
    end
  end
  return nil,
    "there is no token: choose how to sign in with --auth, set AUTOPILOT_TOKEN, or name a file "
      .. "that holds a token with --token-file"
end

return token_source
