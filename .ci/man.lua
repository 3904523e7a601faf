-- Prints the man page of autopilot-sync, made of the parser that reads its arguments: `lua .ci/man.lua`.

local arguments = require "autopilot.cli.arguments"
local version = require "autopilot.version"

--- A text for roff: its backslashes and hyphens, and what would begin a request, are taken as they are.
local function plain(text)
  text = text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("…", "...")
  return (("\n" .. text):gsub("\n([.'])", "\n\\&%1"):sub(2))
end

local function put(...)
  print((table.concat({ ... }):gsub("\n+$", "")))
end

--- An option or argument: its names, the word for its value, and what it does. Items of a list get lines of their own.
local function put_element(element)
  local names = element._aliases or { element._name }
  local value = element._argname or ""
  value = type(value) == "table" and table.concat(value, " ") or value
  put(".TP\n\\fB", plain(table.concat(names, ", ")), "\\fR ", plain(value))
  put((plain(element._description):gsub("\n%*", "\n.br\n*")))
end

local root = arguments.parser()
local is_common = {} -- the options of every command, by name
for _, option in ipairs(root._options) do
  is_common[option._name] = true
end

-- Groups that several commands have, but for the one that is each command's own; in the order in which they come.
local shared, known = {}, { Options = "own" }
for _, command in ipairs(root._commands) do
  for _, group in ipairs(command._groups) do
    if known[group.name] == "once" then
      shared[#shared + 1], known[group.name] = group, "several"
    end
    known[group.name] = known[group.name] or "once"
  end
end

--- The options that a command has for itself, and the titles of the others.
local function put_options(command)
  local is_shared, titles = {}, {}
  for _, group in ipairs(command._groups) do
    if known[group.name] == "several" then
      titles[#titles + 1] = group.name:upper()
      for _, option in ipairs(group) do
        is_shared[option] = true
      end
    end
  end
  for _, option in ipairs(command._options) do
    if not is_shared[option] and not is_common[option._name] then
      put_element(option)
    end
  end
  if titles[1] then
    put(".PP\nAlso the options below: ", table.concat(titles, ", "), ".")
  end
end

put('.TH AUTOPILOT\\-SYNC 1 "" "autopilot\\-sync ', plain(version), '"')
put(".SH NAME\nautopilot\\-sync \\- sync the Windows Autopilot devices of Intune tenants")
put ".SH SYNOPSIS"
for _, command in ipairs(root._commands) do
  local argument = command._arguments[1]
  put(".B autopilot\\-sync ", command._name)
  put("[options] ", argument and (argument._argname or argument._name):upper() or "", "\n.br")
end
put(".SH DESCRIPTION\n", plain(root._description))
put(".PP\n", plain(root._commands[1]._epilog:match "^A DURATION[^\n]*"))
put ".SH COMMANDS"
for _, command in ipairs(root._commands) do
  put(".SS ", command._name, "\n", plain(command._description))
  for _, argument in ipairs(command._arguments) do
    put_element(argument)
  end
  put_options(command)
  put(".PP\n.nf\n", plain(command._epilog:match "Example:.*"), "\n.fi")
end
for _, group in ipairs(shared) do
  put(".SH ", group.name:upper())
  for _, option in ipairs(group) do
    put_element(option)
  end
end
put ".SH OPTIONS OF EVERY COMMAND"
for _, option in ipairs(root._options) do
  put_element(option)
end
for title, text in (root._epilog .. "\n\n"):gmatch "(%u[%a ]+):\n(.-)\n\n" do
  put(".SH ", title:upper(), "\n.nf\n", plain(text), "\n.fi")
end
