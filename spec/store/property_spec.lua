-- Clients that share a store: one sends at a time, and none sends in vain what another knows,
-- reports anything untrue, or waits for ever. Random histories in virtual time.
--
-- The seed is printed. STORE_SEED repeats a run, STORE_HISTORIES says how many: by default 1,500, 200 on
-- another Lua than 5.4, 100 where a tool slows the specs down. A failing history is made smaller.

local Choices = require "support.choices"
local histories = require "support.histories"
local sharing = require "support.sharing"
local shared_history = require "support.shared_history"

describe("clients that share a store", function()
  it("ask one at a time, never in vain, and report only the truth", function()
    local sums, count, seed = histories.run_all {
      name = "STORE",
      usual = 1500,
      elsewhere = 200,
      slowed = 100,
      shrinking = 600,
      run = function(choices)
        return shared_history.run(choices, sharing)
      end,
    }
    -- A run in which nothing is shared proves nothing.
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

  it("wait for the started sync, even if Unix time was set before", function()
    -- Unix time is set back by an hour, and a call takes another's sync for its own ten minutes later.
    local history = shared_history.run(Choices.of_seed(72 * 30011 + 59209 * 7919), sharing)
    assert.is_nil(history.wrong)
  end)
end)
