-- Clients that share a store: one of them asks at a time, nobody asks in vain what another knows,
-- nobody claims what is not true, nobody waits for ever. Random histories in virtual time.
--
-- The seed is printed. STORE_SEED repeats a run, STORE_HISTORIES says how many: by default 1,500, 200 on
-- another Lua than 5.4, 100 where a tool slows the specs down. A failing history is made smaller.

local Choices = require "support.choices"
local sharing = require "support.sharing"
local shared_history = require "support.shared_history"

local seed = tonumber(os.getenv "STORE_SEED") or os.time() % 1000000
local usual = os.getenv "SPEC_PATIENCE" and 100 or _VERSION == "Lua 5.4" and 1500 or 200
local count = tonumber(os.getenv "STORE_HISTORIES") or usual

--- The rule that a history breaks, with the choices that led there; nil when it breaks none.
local function broken_rule(choices)
  local history = shared_history.run(choices, sharing)
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

--- The smallest history that is soon found and breaks the same rule, for a reader.
local function smallest(choices, rule)
  local small = Choices.shrink(choices.taken, function(list)
    local candidate = Choices.of_list(list)
    local finished, broken = pcall(broken_rule, candidate)
    return finished and broken == rule and candidate.taken or nil
  end, 600)
  local _, history = broken_rule(Choices.of_list(small))
  return as_text(history)
end

describe("clients that share a store", function()
  it("ask one at a time, never in vain, and say only what is true", function()
    local sums = { calls = 0, posts = 0, joined = 0, cooldown = 0, died = 0, open = 0 }
    for number = 1, count do
      local choices = Choices.of_seed(seed * 30011 + number * 7919)
      local rule, history = broken_rule(choices)
      if rule then
        local message = "history %d of STORE_SEED=%d breaks '%s':\n%s"
        error(message:format(number, seed, rule, smallest(choices, rule)), 0)
      end
      for name in pairs(sums) do
        sums[name] = sums[name] + history.sums[name]
      end
    end
    -- A run in which nobody shares anything proves nothing.
    assert.is_true(sums.joined > sums.calls / 50)
    assert.is_true(sums.cooldown > sums.calls / 50)
    print(
      (
        "\nsharing: %d histories (STORE_SEED=%d): %d calls, %d posts, %d joined another's, "
        .. "%d answered from what another knew, %d died (nobody can know: %d)"
      ):format(
        count,
        seed,
        sums.calls,
        sums.posts,
        sums.joined,
        sums.cooldown,
        sums.died,
        sums.open
      )
    )
  end)
end)
