--- Runs many random histories and judges them; one that breaks a rule is made smaller for its reader.

local Choices = require "support.choices"

local histories = {}

---@class Histories
---@field name string of the variables of the environment: NAME_SEED repeats a run, NAME_HISTORIES counts
---@field usual integer histories on Lua 5.4
---@field elsewhere integer on another Lua
---@field slowed integer where a tool slows the specs down
---@field run fun(choices: table): table a history with `wrong` (what broke, if anything), `sums`, `model`
---@field shrinking integer steps that a failing one is made smaller in

--- The rule that a history breaks, with the choices that led there; nil when it breaks none.
local function broken_rule(given, choices)
  local history = given.run(choices)
  return history.wrong and history.wrong[1].rule, history
end

local function as_text(history)
  local lines = {}
  for _, line in ipairs(history.model.history) do
    lines[#lines + 1] = ("%+12.4f %s"):format(line[1], line[2])
  end
  for _, wrong in ipairs(history.wrong) do
    lines[#lines + 1] = ("WRONG %s: %s"):format(wrong.rule, wrong.text)
  end
  return table.concat(lines, "\n")
end

--- The smallest history that is soon found and breaks the same rule.
local function smallest(given, choices, rule)
  local small = Choices.shrink(choices.taken, function(list)
    local candidate = Choices.of_list(list)
    local finished, broken = pcall(broken_rule, given, candidate)
    return finished and broken == rule and candidate.taken or nil
  end, given.shrinking)
  local _, history = broken_rule(given, Choices.of_list(small))
  return as_text(history)
end

--- Adds up what was seen in all of them; raises at the first that breaks a rule.
---@param given Histories
---@return table<string, number> sums
---@return integer count
---@return integer seed
function histories.run_all(given)
  local seed = tonumber(os.getenv(given.name .. "_SEED")) or os.time() % 1000000
  local usual = os.getenv "SPEC_PATIENCE" and given.slowed
    or _VERSION == "Lua 5.4" and given.usual
    or given.elsewhere
  local count, sums = tonumber(os.getenv(given.name .. "_HISTORIES")) or usual, {}
  for number = 1, count do
    local choices = Choices.of_seed(seed * 30011 + number * 7919)
    local rule, history = broken_rule(given, choices)
    if rule then
      local message = "history %d of %s_SEED=%d breaks '%s':\n%s"
      error(message:format(number, given.name, seed, rule, smallest(given, choices, rule)), 0)
    end
    for name, value in pairs(history.sums) do
      sums[name] = (sums[name] or 0) + value
    end
  end
  return sums, count, seed
end

return histories
