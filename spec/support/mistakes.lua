--- Checks that a caller's mistake raises, at the line that made it.

local assert = require "luassert"
local new_client = require "autopilot.client"

local mistakes = {}

--- The message with which `callable` raises; fails when it does not.
---@return string
function mistakes.raised(callable, ...)
  local ok, message = pcall(callable, ...)
  assert(not ok, "nothing was raised")
  return message
end

--- The line that calls this function.
---@return integer
function mistakes.this_line()
  return debug.getinfo(2, "l").currentline
end

--- Fails unless the message points at that line of the file that calls this function.
---@param line integer
---@param message string
---@param told string? what it begins with after its place
function mistakes.assert_raised_at(line, message, told)
  local expected = ("%s:%d: %s"):format(debug.getinfo(2, "S").short_src, line, told or "")
  assert.are.equal(expected, message:sub(1, #expected))
end

--- Fails unless each of these options is refused at the line that gives them, in a message with the complaint.
---@param name string of a function of `autopilot.token`
---@param make function
---@param cases table<string, table> the options by complaint
---@param hidden string? what no message has
---@return string[] messages
function mistakes.assert_refused(name, make, cases, hidden)
  local messages = {}
  for complaint, given in pairs(cases) do
    local line
    local message = mistakes.raised(function()
      line = mistakes.this_line() + 1
      local made = make(given)
      return made
    end)
    mistakes.assert_raised_at(line, message, ("autopilot.token.%s: "):format(name))
    assert.is_truthy(message:find(complaint, 1, true), message)
    assert.is_nil(hidden and message:find(hidden, 1, true), message)
    messages[#messages + 1] = message
  end
  return messages
end

--- The mistake that these options of a client are said to be, without its place.
---@param given table
---@return string
function mistakes.of_client(given)
  given.token = given.token or "token"
  return (mistakes.raised(new_client, given):gsub("^.-:%d+: ", ""))
end

return mistakes
