local Output = require "autopilot.cli.output"
local command = require "support.command"
local overlay = require "support.overlay"
local progress = require "autopilot.cli.progress"

local function facts(given)
  local all =
    { done = 0, failed = 0, in_flight = 0, asleep = 0, elapsed = 0, total = nil, is_exact = false }
  overlay(all, given)
  return all
end

local midway = facts {
  done = 1250,
  failed = 12,
  in_flight = 64,
  asleep = 8,
  total = 10000,
  is_exact = true,
  elapsed = 10,
}

describe("the progress of a fleet", function()
  it("shows how many are done, failed and in flight, the time left, and the pace", function()
    assert.equal(
      "[####--------------------------] 1,250/10,000, 12 failed, 1 min 10 s left, 64 in flight, "
        .. "125/s, 8 waiting",
      progress.fleet_line(midway, 200)
    )
  end)

  it("is never wider than the terminal, and omits the least important first", function()
    for width = 0, 130 do
      assert.is_true(#progress.fleet_line(midway, width) <= width)
    end
    assert.equal("1,250/10,000, 12 failed", progress.fleet_line(midway, 30))
    assert.equal("1,250/10,000", progress.fleet_line(midway, 22))
    assert.equal("[#----------] 1,250/10,000, 12 failed", progress.fleet_line(midway, 46))
  end)

  it("says when the number of tenants is an estimate, or unknown", function()
    assert.equal("[", progress.fleet_line(facts { total = 5000 }, 80):sub(1, 1))
    assert.matches("0/~5,000, 0 failed", progress.fleet_line(facts { total = 5000 }, 80))
    assert.equal("0, 0 failed, 3 in flight", progress.fleet_line(facts { in_flight = 3 }, 80))
  end)

  it("computes its pace from the requests of this run", function()
    local line = progress.fleet_line(
      facts { done = 1100, known = 1000, total = 1200, is_exact = true, elapsed = 10 },
      100
    )
    assert.matches("10 s left", line)
    assert.matches("10/s", line)
    assert.is_nil(progress.fleet_line(facts { done = 5, known = 5, elapsed = 10 }, 100):find "/s")
  end)

  it("shows what other machines of the run have done", function()
    local line = progress.fleet_line(
      facts { done = 100, elsewhere = 900, total = 1200, is_exact = true, elapsed = 10 },
      120
    )
    assert.matches("100/1,200, 0 failed, 900 by other machines, 20 s left", line)
  end)

  describe("is drawn", function()
    local clock, context, shown

    before_each(function()
      clock, shown = 0, midway
      context = {
        is_terminal = true,
        terminal_width = 60,
        getenv = function() end,
        clock = function()
          return clock
        end,
        output = Output.new(command.sink(), command.sink()),
      }
    end)

    local function start()
      return progress.drawer(context, {}, function(width)
        return progress.fleet_line(shown, width)
      end)
    end

    it("ten times in a second at most", function()
      local draw = start()
      for _ = 1, 100 do
        draw()
        clock = clock + 0.01
      end
      local _, count = context.output.stderr.text:gsub("\r", "")
      assert.is_true(count >= 9 and count <= 11)
    end)

    it("over the former line, and leaves nothing of it", function()
      local draw = start()
      draw()
      clock, shown = 1, facts { done = 1 }
      draw()
      local last = context.output.stderr.text:match "[^\r]*$"
      assert.matches("^1, 0 failed, 0 in flight +$", last)
      context.output:close()
      assert.matches("\r +\r$", context.output.stderr.text)
    end)

    it("again after other output", function()
      local draw = start()
      draw()
      context.output:warn "line 7: is wrong"
      draw()
      assert.matches("\r +\rline 7: is wrong\n\r%[", context.output.stderr.text)
    end)

    it("in 80 columns, or as many as COLUMNS says, if the terminal does not tell", function()
      local core = require "autopilot.core"
      local width = core.terminal_width
      core.terminal_width = function() end
      context.terminal_width = nil
      for _, columns in ipairs { "", "0", "wide" } do
        context.getenv = function(name)
          return name == "COLUMNS" and columns or nil
        end
        start()()
        assert.matches(
          "\r%[[#-]+%] 1,250/10,000, 12 failed, 1 min 10 s left, 64 in flight$",
          context.output.stderr.text
        )
        context.output:close()
        context.output.stderr.text = ""
      end
      context.getenv = function(name)
        return name == "COLUMNS" and "24" or nil
      end
      start()()
      core.terminal_width = width
      assert.equal("\r1,250/10,000, 12 failed", context.output.stderr.text)
    end)
  end)
end)
