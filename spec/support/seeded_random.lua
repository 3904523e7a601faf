--- Random numbers that can be repeated: the same in every Lua for the same seed.

local SeededRandom = {}
SeededRandom.__index = SeededRandom

--- Numbers in [0, 1), one after the other (minimal standard generator).
---@param seed integer
---@return fun(): number
function SeededRandom.generator(seed)
  local state = seed % 2147483647
  state = state == 0 and 1 or state
  return function()
    state = state * 16807 % 2147483647
    return (state - 1) / 2147483646
  end
end

--- A generator whose seed is the environment's variable of that name, else a new one.
---@param variable string
function SeededRandom.new(variable)
  local seed = tonumber(os.getenv(variable)) or os.time() % 2147483646 + 1
  return setmetatable(
    { seed = seed, draw = SeededRandom.generator(seed), variable = variable },
    SeededRandom
  )
end

--- How to have the same again, for the message of a failure.
function SeededRandom:__tostring()
  return ("%s=%d"):format(self.variable, self.seed)
end

--- A whole number from `low` to `high`.
function SeededRandom:integer(low, high)
  return low + math.floor((high - low + 1) * self.draw())
end

function SeededRandom:pick(list)
  return list[self:integer(1, #list)]
end

return SeededRandom
