--- Reads the command line with argparse: which command, with which options, or what is wrong with it.
--
-- argparse alone prints messages and ends the process. Here, both are raised as errors:
-- `{ text = … }` for a text that was asked for, else `{ mistake = … }`.

local argparse = require "argparse"
local commands = require "autopilot.cli.commands"
local lazy = require "autopilot.base.lazy"
local mistake = require "autopilot.base.option_mistake"
local options = require "autopilot.cli.options"
local outcome = require "autopilot.sync.outcome"
local version = require "autopilot.version"

local core = lazy "autopilot.core"
local redact = lazy "autopilot.base.redact"

local arguments = {}

local program = "autopilot-sync"

local all_names, by_name = {}, {}
for index, command in ipairs(commands) do
  all_names[index], by_name[command.name] = command.name, command
end
local command_names = table.concat(all_names, ", ")

local description = "Asks Microsoft Intune to sync the Windows Autopilot devices of a tenant, and "
  .. "reports what came of it. For the options of a command: autopilot-sync COMMAND --help"

-- What an exit code means besides the outcomes that end in it.
local other_ends = {
  [0] = "the status was read",
  [1] = "internal error",
  [2] = "wrong usage",
  [9] = "fleet: some tenants failed; doctor: something is wrong",
  [130] = "ended by Ctrl-C",
  [143] = "ended by SIGTERM",
}

local function exit_code_help()
  local lines = { "Exit codes:" }
  for code = 0, 143 do
    local names, other = table.concat(outcome.ending_in(code), ", "), other_ends[code]
    if names ~= "" or other then
      local comma = names ~= "" and other and "; " or ""
      lines[#lines + 1] = ("%4d  %s%s%s"):format(code, names, comma, other or "")
    end
  end
  return table.concat(lines, "\n")
end

--- Adds the options that every command has. The action stores them, because argparse would forget those before the
-- name of the command: it sets the targets of the command's options to nil.
local function add_common(parser)
  local function add_flag(name, what)
    parser:flag("--" .. name, what):target("_"):action(function(result)
      result[name] = true
    end)
  end
  add_flag("json", "Print each report as one line of JSON, and nothing else, on standard output.")
  add_flag("quiet", "Print failures only, on standard error.")
  add_flag("verbose", "Tell on standard error what is sent, answered and waited for, and when.")
  parser:add_help {
    name = "--help -h",
    description = "Show this help.",
    action = function()
      error({ text = parser:get_help() }, 0)
    end,
  }
end

-- Options that users may try, and what to do instead. They would make a secret an argument, which every user of the
-- machine can read and a shell keeps in a file. A mere "unknown option" would make people try other names.
local refused = {
  ["give the token in AUTOPILOT_TOKEN, or in a file with --token-file"] = "--token --access-token "
    .. "--bearer --bearer-token",
  ["give the assertion in a variable that --assertion-variable names"] = "--assertion "
    .. "--client-assertion",
  ["give the refresh token in a file with --refresh-token-file"] = "--refresh-token",
  ["give the secret in AZURE_CLIENT_SECRET, or in a file with --client-secret-file"] = "--secret "
    .. "--client-secret --password",
  ["give the passphrase in AZURE_CLIENT_CERTIFICATE_PASSWORD"] = "--passphrase "
    .. "--certificate-password",
}
local refusal = "option '%s' does not exist, because other users of the machine can read "
  .. "arguments: %s"

local misplaced = "option '%s' must come after the command, as in: %s %s %s"
local of_another = "option '%s' goes with %s, not with %s: write %s"

--- The names of the commands that have an option.
local function commands_with(option)
  local names = {}
  for _, command in ipairs(commands) do
    if ("\n" .. command.options):find("\n" .. option:gsub("%p", "%%%0") .. "[ :]") then
      names[#names + 1] = command.name
    end
  end
  return names
end

--- argparse's message in one line, with the option or command that was probably meant.
local function mistake_of(message, root, current)
  message = message:gsub("\nDid you mean.*$", "") -- ours are better
  if message == "a command is required" then
    return message .. ": " .. command_names
  end
  local own = by_name[current._name]
  local usage = own and ("%s %s[OPTIONS]"):format(program, own.example:match "^[^->]*")
  local kind, wrong = message:match "^unknown (%a+) '(.-)'$"
  if not kind then
    local is_count = message:find "^missing argument" or message:find "^unexpected"
    return is_count and ("%s: write %s"):format(message, usage) or message
  end
  for instead, names in pairs(refused) do
    if (" " .. names .. " "):find(" " .. wrong .. " ", 1, true) then
      return refusal:format(wrong, instead)
    end
  end
  local names = commands_with(wrong)
  if names[1] and own then
    return of_another:format(wrong, table.concat(names, ", "), own.name, usage)
  elseif names[1] then
    return misplaced:format(wrong, program, names[1], wrong)
  end
  local known = by_name
  if kind == "option" then
    known = {}
    for name in (root:get_usage() .. current:get_usage()):gmatch "%-%-[%w%-]+" do
      known[name] = name
    end
  end
  local complaint = mistake.name("", wrong, known):gsub("^unknown option", "unknown " .. kind)
  if complaint:find "%)$" then
    return complaint
  end
  return ("%s: see %s%s --help"):format(complaint, program, own and " " .. own.name or "")
end

-- Characters: names of options and commands are shorter, client secrets longer.
local longest_word = 32

--- The message without what may be a secret: tokens, and the end of each long word that it quotes.
local function without_secrets(message)
  return (
    redact.text(message):gsub("'([^%s']+)'", function(word)
      return #word > longest_word and ("'%s…'"):format(word:sub(1, 8)) or nil
    end)
  )
end

-- What a value such as `DURATION` may be, in the help of each command that has one.
local durations = "A DURATION is a number of seconds, or has a unit: 90s, 10m, 2h, 1d.\n\n"

local function example_of(command)
  return "Example:\n   " .. program .. " " .. command.example
end

--- The parser of the command line. With `is_shown` it is not for parsing, but for a man page or completion.
local function new_parser(is_shown)
  local epilog = { options.environment, exit_code_help(), example_of(by_name.sync) }
  local root = argparse(program, description, table.concat(epilog, "\n\n"))
  root:help_max_width(90):help_description_margin(27):command_target "command"
  root.error = function(current, message)
    options.refuse(without_secrets(mistake_of(message, root, current)))
  end
  add_common(root)
  root:flag("--version", "Show the version."):action(function()
    local info, lua = core.info(), _G.jit and _G.jit.version or _VERSION
    local versions = "%s %s\nlibcurl %s, %s, %s" -- those that a fault report must name
    error({ text = versions:format(program, version, info.libcurl, info.ssl, lua) }, 0)
  end)
  for _, command in ipairs(commands) do
    local parser = root:command(command.name, command.description):summary(command.summary)
    local units = command.options:find "DURATION" and durations or ""
    parser:epilog(units .. example_of(command))
    options.declare(parser, command.options, is_shown)
    if command.declare then
      command.declare(parser)
    end
    if not is_shown then -- argparse itself does not name the words that a command has no place for
      local surplus = parser:argument("surplus"):args("*"):hidden(true):convert(function(word)
        return nil, ("unexpected argument '%s'"):format(word)
      end)
      surplus:action(function() end) -- an empty list is not stored
    end
    add_common(parser)
  end
  return root
end

--- The parser of argparse, for the man page and for completion.
function arguments.parser()
  return new_parser(true)
end

--- Joins a value that begins with a minus to its option (`--since=-10m`): else argparse takes the value for an
-- option.
local function join_signed(args)
  local joined = {}
  for _, argument in ipairs(args) do
    local before = joined[#joined]
    if argument:match "^%-[%d.]" and before and before:match "^%-%-[^=]+$" then
      joined[#joined] = before .. "=" .. argument
    else
      joined[#joined + 1] = argument
    end
  end
  return joined
end

--- Reads the arguments. Raises an error for a mistake, or with the text that they ask for.
---@return autopilot.cli.Command command
---@return table<string, any> options
function arguments.parse(args)
  local given = new_parser():parse(join_signed(args))
  return by_name[given.command], given
end

return arguments
