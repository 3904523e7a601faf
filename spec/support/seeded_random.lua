--- Random numbers that can be had again: the same in every Lua for the same seed.

local SeededRandom = {}
SeededRandom.__index = SeededRandom

--- A generator whose seed is the environment's variable of that name, else a new one.
---@param variable string
function SeededRandom.new(variable)
  local seed = tonumber(os.getenv(variable)) or os.time() % 2147483646 + 1
  return setmetatable({ seed = seed, state = seed, variable = variable }, SeededRandom)
end

--- How to have the same again, for the message of a failure.
function SeededRandom:__tostring()
  return ("%s=%d"):format(self.variable, self.seed)
end

--- A whole number from `low` to `high` (minimal standard generator).
function SeededRandom:integer(low, high)
  self.state = self.state * 16807 % 2147483647
  return low + math.floor((high - low + 1) * (self.state - 1) / 2147483646)
end

function SeededRandom:pick(list)
  return list[self:integer(1, #list)]
end

return SeededRandom
