--- Runs the command in this process, for specs: its output is captured, nothing is inherited.

local assert = require "luassert"
local cli = require "autopilot.cli"
local overlay = require "support.overlay"
local scripted = require "autopilot.transport.scripted"

local command = {}

--- A stream to write to that keeps what it gets.
---@param failure { message: string, number: integer }? what every write ends with instead
function command.sink(failure)
  local sink = { text = "" }
  function sink:write(...)
    if failure then
      return nil, failure.message, failure.number
    end
    self.text = self.text .. table.concat { ... }
    return self
  end
  function sink:flush()
    return self
  end
  return sink
end

--- Runs a command line. The environment is `given.env` alone; further fields go into the world.
---@param args string[]|string words, or a text that is split at blanks
---@param given table?
---@return { code: integer, out: string, err: string }
function command.run(args, given)
  if type(args) == "string" then
    local words = {}
    for word in args:gmatch "%S+" do
      words[#words + 1] = word
    end
    args = words
  end
  local world = overlay({ stdout = command.sink(), stderr = command.sink() }, given)
  local env = world.env or {}
  world.env = nil
  function world.getenv(name)
    return env[name]
  end
  local code = cli.main(args, world)
  return { code = code, out = world.stdout.text, err = world.stderr.text }
end

--- The token of `run_with_answers`. Secrets in its specs contain the word `hidden`.
command.token = "eyJhbGciOiJub25lIn0.aGlkZGVuLWhpZGRlbi1oaWRkZW4.hidden"

--- Runs a command line with that token, against a transport or a service that gives these answers. No time passes. Fails
-- when a secret is printed.
---@param answers table|function
---@param given table?
---@return { code: integer, out: string, err: string }
function command.run_with_answers(args, answers, given)
  local world = {
    env = { AUTOPILOT_TOKEN = command.token },
    transport = type(answers) == "table" and not answers.requests and scripted(answers) or answers,
    sleep = function() end,
    clock = function()
      return 0
    end,
    now = function()
      return 1767225600.25
    end,
    random = function()
      return 0
    end,
  }
  local ran = command.run(args, overlay(world, given))
  assert.is_nil((ran.out .. ran.err):find("hidden", 1, true))
  return ran
end

--- The one sentence for a wrong command line, without the program's name. Fails when something was sent, or printed to
--- standard output.
---@param env table? default: a token that is good
---@return string
function command.mistake(args, env)
  local transport = scripted {}
  local given = { env = env or { AUTOPILOT_TOKEN = "good" }, transport = transport }
  local ran = command.run(args, given)
  assert.are.same({ 2, "", 0 }, { ran.code, ran.out, #transport.requests })
  return (ran.err:match "^autopilot%-sync: ([^\n]*)\n$")
end

return command
