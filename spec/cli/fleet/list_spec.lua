-- `autopilot-sync fleet`: a list that comes slowly, that ends in the middle, or that is another program's.

local cjson = require "cjson.safe"
local command = require "support.command"
local files = require "support.files"
local fleet_command = require "support.fleet_command"
local list_lines = require "autopilot.cli.fleet.lines"

local new_world, syncs_of = fleet_command.world, fleet_command.syncs

-- Runs the command on a list that comes in these pieces; false: no piece is there yet. With `ending`, reading
-- fails at the end with that message.
local function run(args, pieces, world, ending)
  local open = list_lines.open
  list_lines.open = function()
    local index = 0
    return list_lines.reader(function()
      index = index + 1
      local piece = pieces[index]
      if type(piece) == "function" then
        piece = piece()
        index = piece and index or index - 1
      end
      if piece == nil then
        return nil, ending
      end
      return piece
    end)
  end
  local done, ran = pcall(command.run, "fleet - " .. args, world)
  list_lines.open = open
  assert(done, ran)
  return ran
end

--- A piece that is there after so many seconds.
local function later(world, seconds, text)
  local from = world.now() + seconds
  return function()
    return world.now() >= from and text
  end
end

describe("autopilot-sync fleet with a list that arrives slowly", function()
  it("begins with a tenant as soon as its line has arrived", function()
    local world, service, requests = new_world()
    local at = {}
    local answer = world.transport
    world.transport = function(request)
      at[#at + 1] = world.now() - fleet_command.start
      return answer(request)
    end
    local pieces = {
      later(world, 2, "a.example\nb.exa"),
      later(world, 30, "mple\n"),
      later(world, 60, "c.example\n"),
    }
    local ran = run("--json", pieces, world)
    assert.equal("", ran.err)
    assert.equal(0, ran.code)
    assert.same({ ["a.example"] = 1, ["b.example"] = 1, ["c.example"] = 1 }, syncs_of(service))
    assert.equal(6, #requests) -- a token and a sync each
    for index, seconds in ipairs { 2, 2, 30, 30, 60, 60 } do
      assert.near(seconds, at[index], 0.3)
    end
  end)

  it("waits for the first line, which tells the format", function()
    local world, service = new_world()
    local pieces = { false, "# a comment\n\nten", false, "ant,cloud\n", false, "a.example,\n" }
    assert.equal(0, run("", pieces, world).code)
    assert.same({ ["a.example"] = 1 }, syncs_of(service))
  end)

  it("waits for the first tenant, to check that it can be signed in to", function()
    local world, _, requests = new_world()
    world.env = {}
    local ran = run("", { "tenant\n", false, false, "a.example\n" }, world)
    assert.equal(2, ran.code)
    assert.matches("no way to sign in is given", ran.err)
    assert.equal(0, #requests)
  end)

  it("ends at its deadline, even if lines are still missing", function()
    local world = new_world()
    local pieces = { "a.example\n", later(world, 1e6, "b.example\n") }
    local ran = run("--deadline 20 --json", pieces, world)
    assert.equal(0, ran.code)
    assert.equal("a.example", cjson.decode(ran.out).tenant)
    assert.is_true(world.now() - fleet_command.start < 22)
  end)

  it("ends at its deadline, even if the first line came late", function()
    local world = new_world()
    local pieces = { later(world, 15, "a.example\n"), later(world, 1e6, "b.example\n") }
    assert.equal(0, run("--deadline 20", pieces, world).code)
    assert.near(20, world.now() - fleet_command.start, 0.3)
  end)

  it("does not wait beyond the deadline if no line comes", function()
    for _, pieces in ipairs { { "" }, { "tenant\n" } } do
      local world = new_world()
      pieces[2] = later(world, 1e6, "a.example\n")
      local ran = run("--deadline 20", pieces, world)
      assert.equal(2, ran.code)
      assert.matches(
        "^autopilot%-sync: the list %-: .*nothing came before the deadline\n$",
        ran.err
      )
      assert.near(20, world.now() - fleet_command.start, 0.1)
    end
  end)

  it("ends when it is interrupted, even if lines are still missing", function()
    local world = new_world()
    world.was_interrupted = function()
      return world.now() - fleet_command.start > 5
    end
    local ran = run("--json", { "a.example\n", later(world, 1e6, "b.example\n") }, world)
    assert.equal(130, ran.code)
    assert.equal("a.example", cjson.decode(ran.out).tenant)
    assert.is_true(world.now() - fleet_command.start < 7)
  end)
end)

describe("autopilot-sync fleet with a list that fails in the middle", function()
  it("says so after all that was read, and ends in 9", function()
    local world, service = new_world()
    local ran = run("", { "a.example\nb.exam" }, world, "Input/output error")
    assert.equal(9, ran.code)
    assert.equal(
      "autopilot-sync: the list could not be read to its end: Input/output error\n",
      ran.err
    )
    assert.same({ ["a.example"] = 1 }, syncs_of(service))
  end)

  it("continues there when the same command is given again", function()
    local path, remove = files.temporary ""
    local world, service = new_world()
    local args = "--json --state " .. path
    run(args, { "a.example\n" }, world, "Input/output error")
    local ran = run(args, { "a.example\nb.example\n" }, world)
    remove()
    os.remove(path .. "-wal")
    assert.matches("1 done already", ran.err)
    assert.equal(0, ran.code)
    assert.same({ ["a.example"] = 1, ["b.example"] = 1 }, syncs_of(service))
  end)

  it("is refused if no line could be read", function()
    local ran = run("", {}, (new_world()), "Input/output error")
    assert.equal(2, ran.code)
    assert.equal("autopilot-sync: the list -: it cannot be read: Input/output error\n", ran.err)
  end)
end)

describe("autopilot-sync fleet with a JSON array", function()
  it("names the format that it needs, before any request", function()
    local world, _, requests = new_world()
    for _, list in ipairs { "[\n", '[{"tenant":"a.example"}]\n', " [ ]" } do
      local ran = run("", { list }, world)
      assert.equal(2, ran.code)
      assert.matches("it is a JSON array: write each of its objects in a line", ran.err)
    end
    assert.equal(0, #requests)
  end)
end)
