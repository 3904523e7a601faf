-- Reports are true: random histories of a tenant, its network and its clients, in virtual time.
--
-- The seed is printed. CERTAINTY_SEED repeats a run, CERTAINTY_HISTORIES says how many: by default 20,000,
-- 2,000 on another Lua than 5.4, 200 where a tool slows the specs down. A failing history is made
-- smaller and printed.

local Choices = require "support.choices"
local History = require "support.history"
local certainty = require "support.certainty"
local histories = require "support.histories"
local random_history = require "support.random_history"

describe("the report of a tenant's syncs", function()
  it("is true in every history, and no request is sent in vain", function()
    local sums, count, seed = histories.run_all {
      name = "CERTAINTY",
      usual = 20000,
      elsewhere = 2000,
      slowed = 200,
      shrinking = 1000,
      run = function(choices)
        return random_history.run(choices, certainty)
      end,
    }
    -- A run that claims nothing proves nothing.
    assert.is_true(sums.ok > sums.calls / 4)
    print(
      (
        "\ncertainty: %d histories (CERTAINTY_SEED=%d): %d calls, %d of them ok, %d requests; "
        .. "futile posts 0, false claims 0 (nobody can know: %d by Date, %d by whom)"
      ):format(count, seed, sums.calls, sums.ok, sums.requests, sums.open, sums.whose)
    )
  end)

  it("is true if a lost request is checked ten minutes later", function()
    -- A history in which another client's sync began 0.17 s before the request.
    local history = random_history.run(Choices.of_seed(1130 * 30011 + 40256 * 7919), certainty)
    assert.is_nil(history.wrong)
  end)

  --- How often `ensure {}` posts, and reads before and after, on a tenant whose syncs take so long.
  local function count_requests(duration, last)
    local history = History.new(Choices.of_list {}, certainty)
    history.model.rules.duration = { duration, duration }
    history.network.rules.latency = 0.1
    if last then
      history.model:begin_sync(history.model.now - last, "other", true)
    end
    local options = { max_age = 300, wait = true }
    local client = random_history.new_client(history)
    local call = random_history.make_call(history, client, "ensure", options)
    certainty.on_return(history, call)
    assert.is_nil(history.wrong)
    local counted = { outcome = call.report.outcome, before = 0, posts = 0, after = 0 }
    for _, request in ipairs(call.requests) do
      local name = request.method == "POST" and "posts" or counted.posts > 0 and "after" or "before"
      counted[name] = counted[name] + 1
    end
    return counted
  end

  it("costs 1 post, 1 status before and at most 8 after where a sync takes 60 s", function()
    local counted = count_requests(60)
    assert.are.equal("completed", counted.outcome)
    assert.are.equal(1, counted.posts)
    assert.are.equal(1, counted.before)
    assert.is_true(counted.after <= 8)
    print(
      ("\ncertainty: ensure on an idle tenant, 60 s: %d post, %d status before, %d after"):format(
        counted.posts,
        counted.before,
        counted.after
      )
    )
  end)

  it("costs 1 status and no post if it is fresh", function()
    local counted = count_requests(60, 200)
    assert.are.same({ outcome = "fresh", before = 1, posts = 0, after = 0 }, counted)
  end)
end)
