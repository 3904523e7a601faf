-- `autopilot-sync fleet --report`: what the file contains, that it is complete, and that texts are escaped.

local FleetSummary = require "autopilot.cli.fleet.summary"
local files = require "support.files"
local fleet_command = require "support.fleet_command"
local report = require "autopilot.sync.report"
local report_file = require "autopilot.cli.fleet.report_file"

local run, new_world, names = fleet_command.run, fleet_command.world, fleet_command.names

describe("the report of a fleet", function()
  local folder, remove

  before_each(function()
    folder, remove = files.folder()
  end)

  after_each(function()
    remove()
  end)

  --- What is in the folder beside the report.
  local function others()
    local listing = assert(io.popen(("ls -A '%s'"):format(folder)))
    local text = listing:read "*a"
    listing:close()
    return (text:gsub("report%.%a+\n", ""))
  end

  --- Runs a fleet of two that fail and three that do not.
  local function report_of(name, args)
    local world = new_world {
      tenants = {
        good = {},
        better = {},
        best = {},
        bad = { licensed = false },
        ["a-bad"] = { licensed = false },
      },
    }
    world.env.USER, world.env.HOSTNAME = "eve", "nightly"
    local path = folder .. "/" .. name
    local ran =
      run("--report " .. path .. " " .. (args or ""), "good\nbad\nbest\na-bad\nbetter\n", world)
    assert.equal(9, ran.code)
    return assert(files.read(path)), ran
  end

  it("can be Markdown", function()
    local text = report_of "report.md"
    assert.matches("^# autopilot%-sync fleet: sync, 2026%-09%-21T14:13:20Z\n", text)
    for _, line in ipairs {
      "| Run by | eve on nightly |",
      "| Application | app |",
      "| Began | 2026-09-21T14:13:20Z |",
      "| Tenants | 5, of which 2 failed |",
      "| Outcome | Tenants | Share |  |",
      "|---|---|---|---|",
      "| started | 3 | 60.0 % | " .. ("█"):rep(14) .. " |",
      "| not\\_licensed | 2 | 40.0 % | " .. ("█"):rep(10) .. " |",
      "## not\\_licensed \\(2 tenants\\)",
      "The tenant has no Intune licence, or Intune is not its MDM authority.",
      "| a-bad |  | Request not applicable to target tenant. |",
      "| bad |  | Request not applicable to target tenant. |",
    } do
      assert.truthy(text:find("\n" .. line .. "\n", 1, true), line .. "\n\n" .. text)
    end
  end)

  it("can be HTML that loads nothing from elsewhere", function()
    local text = report_of "report.HTML"
    assert.matches("^<!DOCTYPE html>", text)
    assert.truthy(text:find("default-src 'none'", 1, true))
    assert.truthy(text:find("<tr><td>started</td><td>3</td><td>60.0 %</td>", 1, true))
    assert.truthy(text:find("<h2>not_licensed (2 tenants)</h2>", 1, true))
    assert.is_nil(
      text:find("src=", 1, true) or text:find("href", 1, true) or text:find("url(", 1, true)
    )
  end)

  it("is written in addition to the output, and replaces the former file", function()
    files.write(folder .. "/report.md", "the former one")
    local text, ran = report_of("report.md", "--json")
    assert.matches("^# autopilot", text)
    local _, order = fleet_command.reports(ran)
    assert.equal(5, #order)
    assert.equal("", others())
  end)

  it("tells when to ask again, and which tenants were left out", function()
    local world = new_world { faults = { { kind = "throttle", on = "sync", retry_after = 400 } } }
    local path = folder .. "/report.md"
    run("--attempts 1 --report " .. path, names(2) .. "no tenant\ntenant01.example\n", world)
    local text = files.read(path)
    assert.truthy(text:find("| 2026-09-21T14:20:00Z |", 1, true), text)
    assert.truthy(text:find("\n| Bad lines | 1 |\n| Duplicates | 1 |\n", 1, true), text)
  end)

  it(
    "tells who ran it where the environment has what cron gives, and no name of the machine",
    function()
      local world = new_world()
      world.env.LOGNAME = "eve"
      local path = folder .. "/report.md"
      run("--report " .. path, names(1), world)
      local machine = (files.read "/etc/hostname" or ""):match "%S+"
      local expected = machine and "eve on " .. machine or "eve"
      assert.equal(expected, files.read(path):match "\n| Run by | ([^\n]*) |\n")
    end
  )

  it("tells that the run was interrupted, and which tenants were not begun", function()
    local was_interrupted = false
    local world = new_world {
      on_request = function()
        was_interrupted = true
      end,
    }
    function world.was_interrupted()
      return was_interrupted
    end
    local path = folder .. "/report.md"
    local ran = run("--concurrency 1 --report " .. path, names(3), world)
    assert.equal(130, ran.code)
    local text = files.read(path)
    local remark = "interrupted: the other tenants are reported as cancelled"
    assert.truthy(text:find("| Remark | " .. remark .. " |", 1, true), text)
    assert.matches("\n## cancelled \\%(%d tenants?\\%)\n", text)
    assert.truthy(text:find("\n| tenant03.example |", 1, true), text)
  end)

  it("escapes hostile texts", function()
    local summary = FleetSummary.new(true)
    local failed = report.new {
      operation = "sync",
      outcome = "rejected",
      hint = "see **www.evil.example**",
      error = { message = "<script>alert('x')</script>\n# [link](http://evil.example)|" },
    }
    summary:add({ tenant = '"><img src=x>' }, failed)
    local counted = { total = 1, failed = 1, known = 0, elapsed = 2, by_outcome = { rejected = 1 } }
    local world = {
      options = { file = "<b>list", operation = "sync" },
      context = {
        now = os.time,
        variable = function() end,
        find = function() end,
      },
      list = { bad = 0, duplicates = 0 },
      fleet = { summary = counted },
      summary = summary,
      remarks = { "<i>late" },
      began_at = 0,
    }
    local html, markdown = folder .. "/report.html", folder .. "/report.md"
    assert.is_nil(report_file.write(html, world))
    assert.is_nil(report_file.write(markdown, world))
    local text = files.read(html)
    for _, mark in ipairs { "<script", "<img", "<b>", "<i>" } do
      assert.is_nil(text:find(mark, 1, true))
    end
    assert.truthy(text:find("&quot;&gt;&lt;img src=x&gt;", 1, true))
    text = files.read(markdown)
    assert.truthy(
      text:find(
        "\\<script\\>alert\\('x'\\)\\</script\\> \\# \\[link\\]\\(http\\://evil.example\\)\\|",
        1,
        true
      ),
      text
    )
    assert.truthy(text:find("see \\*\\*www\\.evil.example\\*\\*", 1, true))
  end)

  it("is refused before any request if it cannot be written", function()
    for name, complaint in pairs {
      ["report.txt"] = "must end with .html or .md",
      ["missing/report.md"] = "cannot be written: No such file or directory\n",
    } do
      local world, _, requests = new_world()
      local path = folder .. "/" .. name
      local ran = run("--report " .. path, names(1), world)
      assert.equal(2, ran.code)
      assert.truthy(ran.err:find(("the report %s %s"):format(path, complaint), 1, true), ran.err)
      assert.equal(0, #requests)
      assert.equal("", others())
    end
  end)

  it("is refused if it would replace the state file", function()
    local world, _, requests = new_world()
    local words = ("--state %s/x.md --report %s/x.md"):format(folder, folder)
    local ran = run(words, names(1), world)
    assert.equal(2, ran.code)
    assert.matches("names the list or the state file, which it would replace", ran.err)
    assert.equal(0, #requests)
  end)

  it("is reported if it cannot be written at the end, and the command ends in 1", function()
    local world = new_world {
      on_request = function()
        os.execute(("rm -rf '%s'"):format(folder))
      end,
    }
    local ran = run(("--report %s/report.md"):format(folder), names(1), world)
    assert.equal(1, ran.code)
    assert.matches("report%.md could not be written: ", ran.err)
  end)
end)
