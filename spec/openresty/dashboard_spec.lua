-- The portal's dashboard, used in Chromium: by spec/node/dashboard.mjs, with the portal in real nginx behind it.

local cjson = require "cjson.safe"
local example_world = require "support.example_world"
local files = require "support.files"
local nginx_world = require "support.nginx_world"
local shell = require "autopilot.cli.emulate.shell"

local obstacle = nginx_world.obstacle()
local browser = shell.read("command -v chromium || command -v google-chrome"):match "^[^\n]+"
local packages = shell
  .read("cd build/node/node_modules/playwright-core 2>/dev/null && pwd")
  :match "^(.+)/node_modules/playwright%-core\n"
if not obstacle and not (browser and packages and shell.read "command -v node" ~= "") then
  obstacle = "needs chromium, node, npm and its registry"
end

local hostile_name = "<img/src=x/onerror=hacked=1>"

--- What was seen in every scenario.
local function run_scenarios()
  local world = example_world.start {
    tenants = { "one.example", 'refused"example', hostile_name },
    service = { duration = 0 },
  }
  local folder = shell.read("mktemp -d"):match "^[^\n]+"
  files.write(
    folder .. "/settings.json",
    cjson.encode {
      url = "http://localhost:" .. world.server.port,
      browser = browser,
      packages = packages,
      shots = os.getenv "DASHBOARD_SHOTS", -- a folder for pictures of it
    }
  )
  local command =
    [[HOME="$1" exec timeout 300 node spec/node/dashboard.mjs "$1/settings.json" 2>&1]]
  local output = shell.read(command, folder)
  local syncs = world:arrived "sync"
  shell.read('rm -r "$1"', folder)
  world:stop()
  return cjson.decode(output) or error("the scenarios gave no results: " .. output), syncs
end

describe("the dashboard in Chromium", function()
  if obstacle then
    return pending("the dashboard in Chromium: " .. obstacle)
  end

  local results, syncs

  setup(function()
    results, syncs = run_scenarios()
  end)

  --- What was seen in a scenario, in which nothing may have gone wrong.
  local function seen(scenario)
    local result = results[scenario]
    assert.is_nil(result.error)
    assert.same({}, result.complaints or {})
    return result
  end

  it("starts a sync at a click, and counts down to the next one", function()
    local portal = seen "portal"
    assert.same({
      "0Needs attention",
      "3Stale",
      "0Cooling down",
      "0Fresh",
    }, portal.counters)
    assert.equal("Not asked yet", portal.before[1].outcome)
    assert.matches("^in 1?%d:%d%d$", portal.first)
    assert.matches("^in 1?%d:%d%d$", portal.second)
    assert.is_not.equal(portal.first, portal.second)
    for _, row in ipairs(portal.after) do
      if row.tenant == "one.example" then
        assert.equal("Fresh", row.state)
        assert.equal("started (HTTP 204)", row.outcome)
        assert.equal("true", row.disabled)
      end
    end
    assert.equal(1, syncs)
  end)

  it("shows the result, and advice after a failure", function()
    local portal = seen "portal"
    assert.matches('refused"example: token error', portal.said)
    assert.matches("^%x+%-%x+%-%x+%-%x+%-%x+$", portal.copied)
    assert.equal(1, #portal.history)
    local entry = "sync: started (HTTP 204)request-id " .. portal.copied
    assert.is_truthy(portal.history[1]:find(entry, 1, true))
  end)

  it("runs no script but its own", function()
    local portal = seen "portal"
    assert.equal("refused", portal.injected)
    assert.equal("undefined", portal.hacked)
  end)

  it("shows failures first, each with its state, age, outcome, hint and the next sync", function()
    local states = seen "states"
    local shown = {}
    for index, row in ipairs(states.rows) do
      shown[index] = table.concat({ row.tenant:match "^%w+", row.state, row.age, row.button }, ", ")
    end
    assert.same({
      "adatum, Needs attention, 2 h 0 min ago, Sync",
      "tailspin, Stale, not known, Sync",
      "woodgrove, Stale, 1 d ago, Sync",
      "litware, Cooling down, 1 h 23 min ago, in 0:05",
      "contoso, Fresh, 30 min ago, Sync",
      "fabrikam, Fresh, 5 min ago, in 5:10",
    }, shown)
    assert.equal("forbidden (HTTP 403)", states.rows[1].outcome)
    assert.matches("^Grant the application", states.rows[1].hint)
    assert.same({ "1Needs attention", "2Stale", "1Cooling down", "2Fresh" }, states.counters)
  end)

  it("counts down without requests, and offers a sync at the end", function()
    local states = seen "states"
    assert.matches("^in 0:0[34]$", states.counting)
    assert.equal("Stale", states.later.state)
    assert.equal("Sync", states.later.button)
    assert.equal("false", states.later.disabled)
  end)

  it("has few elements for 5000 tenants, and draws them quickly while it scrolls", function()
    local many = seen "fiveThousand"
    for _, place in ipairs { many.top, many.bottom } do
      assert.equal("5001", place.rowcount)
      assert.is_true(place.elements < 60, place.elements)
    end
    assert.equal(5001, many.last)
    assert.is_true(many.inOrder)
    assert.is_false(many.overlap)
    -- Milliseconds to replace all rows, which takes about 5 where no other program runs.
    assert.is_true(many.median < 100, many.median)
  end)

  it("can be used with the keyboard alone", function()
    local keyboard = seen "keyboard"
    local expected = {
      { "Tab", 2, "tr" },
      { "ArrowDown", 3, "tr" },
      { "ArrowDown", 4, "tr" },
      { "ArrowRight", 4, "name" },
      { "ArrowRight", 4, "copy" },
      { "ArrowRight", 4, "sync" },
      { "ArrowDown", 5, "sync" },
      { "End", 5001, "sync" },
      { "PageUp", nil, "sync" },
      { "Home", 2, "sync" },
      { "ArrowLeft", 2, "copy" },
    }
    for index, step in ipairs(keyboard.seen) do
      local key, place = step[1], step[2]
      local wanted = expected[index]
      assert.equal(wanted[1], key)
      assert.equal(wanted[2] or place.index, place.index)
      assert.equal(wanted[3], place.part)
      assert.is_true(place.seen, key)
    end
    assert.is_true(keyboard.dialog)
    assert.equal(2, keyboard.back.index)
    assert.is_true(keyboard.left == nil or keyboard.left == cjson.null)
  end)

  it("filters by tenant, outcome, hint and state", function()
    local filters = seen "filters"
    assert.same({ rows = 1, shown = "1 of 5,000 tenants" }, filters.byName)
    assert.is_true(filters.byHint)
    assert.same({ rows = 1, pressed = "true" }, filters.byState)
    assert.equal("No tenant matches.", filters.none)
  end)

  it("shows names and texts as text, whatever they contain", function()
    local names = seen "hostileNames"
    assert.is_true(names.asText)
    assert.equal("undefined", names.hacked)
    assert.equal(0, names.foreign)
    assert.equal(1280, names.width)
  end)

  it("fits on a phone", function()
    local phone = seen "phone"
    assert.equal(360, phone.width)
    assert.equal(7, phone.rows)
    assert.is_true(phone.inside)
    assert.is_true(phone.touch >= 40, phone.touch)
  end)

  it("has no accessibility violation that axe can find", function()
    assert.same({ {}, {}, {}, {} }, results.accessible)
  end)

  it("can be read in light and dark", function()
    local contrast = seen "contrast"
    assert.is_true(contrast.light >= 4.5 and contrast.dark >= 4.5)
  end)

  it("says that the portal is unreachable, and continues when it is back", function()
    local away = seen "away"
    assert.matches("^The portal does not answer", away.problem)
    assert.equal(6, away.rows)
  end)

  it("notices that the list of tenants has changed", function()
    assert.equal(2, seen("otherList").rows)
  end)
end)
