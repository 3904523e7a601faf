--- Random choices that can be repeated: from a seed, or from the list of a failing case.
--
-- The first of every alternative is the plainest, and it is what a zero chooses. So a failing case is
-- made smaller by zeros and by leaving choices out, without knowing what they mean.

local SeededRandom = require "support.seeded_random"

local Choices = {}
Choices.__index = Choices

-- Every time of the histories is a multiple: exact as a number and in seven decimal digits.
Choices.grid = 1 / 128

--- Choices by chance.
function Choices.of_seed(seed)
  local draw = SeededRandom.generator(seed)
  for _ = 1, 3 do
    draw() -- neighbouring seeds begin alike
  end
  return setmetatable({ draw = draw, taken = {}, count = 0 }, Choices)
end

--- The choices of a list; zeros after its end.
function Choices.of_list(list)
  local index = 0
  local function draw()
    index = index + 1
    return list[index] or 0
  end
  return setmetatable({ draw = draw, taken = {}, count = 0 }, Choices)
end

--- A number in [0, 1).
function Choices:unit()
  local value = self.draw()
  value = value < 1 and value or 0
  self.count = self.count + 1
  self.taken[self.count] = value
  return value
end

function Choices:chance(probability)
  return self:unit() > 1 - probability
end

function Choices:pick(list)
  return list[1 + math.floor(self:unit() * #list)]
end

--- One of `{weight, value, weight, value, …}`.
function Choices:weighted(list)
  local sum = 0
  for index = 1, #list, 2 do
    sum = sum + list[index]
  end
  local left = self:unit() * sum
  for index = 1, #list, 2 do
    left = left - list[index]
    if left < 0 then
      return list[index + 1]
    end
  end
  return list[2]
end

--- A time between 0 and `most` seconds, on the grid.
function Choices:seconds(most)
  return math.floor(self:unit() * most / Choices.grid) * Choices.grid
end

--- Zeros at the end say nothing: a list that has ended gives zeros.
local function trimmed(list)
  local size = #list
  while size > 0 and list[size] == 0 do
    size = size - 1
  end
  local copy = {}
  for index = 1, size do
    copy[index] = list[index]
  end
  return copy
end

local function is_smaller(list, other)
  local sums = { 0, 0 }
  for index, value in ipairs(list) do
    sums[1] = sums[1] + (value > 0 and 1 or 0)
    sums[2] = sums[2] + ((other[index] or 0) > 0 and 1 or 0)
  end
  return #list < #other or (#list == #other and sums[1] < sums[2])
end

--- The list without a stretch, and the list with zeros there.
local function variants(list, first, size)
  local without, zeroed = {}, {}
  for index, value in ipairs(list) do
    local inside = index >= first and index < first + size
    zeroed[index] = inside and 0 or value
    without[#without + 1] = not inside and value or nil
  end
  return without, zeroed
end

--- A smaller list of choices that fails in the same way, as far as one is found in so many tries.
-- `fails(list)` runs the case and returns the choices it took, or nil when it does not fail.
function Choices.shrink(list, fails, most_tries)
  local best, tries = trimmed(list), 0
  local function improves(candidate)
    tries = tries + 1
    local taken = fails(candidate)
    taken = taken and trimmed(taken)
    if taken and is_smaller(taken, best) then
      best = taken
      return true
    end
  end
  local size = #best
  while size >= 1 and tries < most_tries do
    local first = 1
    while first <= #best and tries < most_tries do
      local without, zeroed = variants(best, first, size)
      if not improves(without) and not improves(zeroed) then
        first = first + size
      end
    end
    size = math.floor(size / 2)
  end
  return best
end

return Choices
