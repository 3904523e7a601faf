--- The commands, in the order of `--help`. A new command is a file in this folder and a line here.

---@class autopilot.cli.Command
---@field name string as it is typed
---@field summary string for the list of commands
---@field description string for its own help
---@field example string for its own help, without the name of the program
---@field options string what `cli/options` reads
---@field declare (fun(parser: table))? adds to argparse's parser of it what needs more than a line of text
---@field run (fun(given: table<string, any>, context: autopilot.cli.Context): integer)? returns the exit code
--- Without `run`, `cli/client` runs the client's method of that name, and the rest is about it:
---@field arguments (fun(given: table<string, any>, context: autopilot.cli.Context): table)?
---@field complete (fun(report: autopilot.Report, client: autopilot.Client, given: table))? adds to the report before the client is closed
---@field lines (fun(report: autopilot.Report): string[])? a good report as lines; default: its own line

local completion = require "autopilot.cli.commands.completion"
local doctor = require "autopilot.cli.commands.doctor"
local emulate = require "autopilot.cli.commands.emulate"
local fleet = require "autopilot.cli.commands.fleet"
local status = require "autopilot.cli.commands.status"
local sync = require "autopilot.cli.commands.sync"
local token = require "autopilot.cli.commands.token"

---@type autopilot.cli.Command[]
return {
  sync.sync,
  status,
  sync.wait,
  sync.ensure,
  fleet,
  token,
  doctor,
  emulate,
  completion,
}
