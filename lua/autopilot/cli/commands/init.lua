--- The commands, in the order of `--help`. A new command is a file in this folder and a line here.

---@class autopilot.cli.Command
---@field name string as it is typed
---@field summary string for the list of commands
---@field description string for its own help
---@field example string for its own help, without the name of the program
---@field options string? what `cli/options` reads
---@field declare (fun(parser: table))? adds to argparse's parser of it what needs more than a line of text
---@field run fun(given: table<string, any>, context: autopilot.cli.Context): integer exit code

local emulate = require "autopilot.cli.commands.emulate"
local ensure = require "autopilot.cli.commands.ensure"
local fleet = require "autopilot.cli.commands.fleet"
local status = require "autopilot.cli.commands.status"
local sync = require "autopilot.cli.commands.sync"
local token = require "autopilot.cli.commands.token"
local wait = require "autopilot.cli.commands.wait"

---@type autopilot.cli.Command[]
return { sync, status, wait, ensure, fleet, token, emulate }
