-- The state file of a fleet against a process that is killed (SIGKILL) while it writes, and against
-- random histories. STATE_SEED repeats them.

local core = require "autopilot.core"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local fleet_state = require "autopilot.fleet.state"
local report = require "autopilot.sync.report"
local seeded_random = require "support.seeded_random"
local shell = require "autopilot.cli.emulate.shell"
local state_file = require "support.state_file"

-- Notes one tenant after the other, and says of each that it is noted; every 40 it begins a new run.
-- It does not end by itself before a great many.
local writer = [[
local core = require "autopilot.core"
local fleet_state = require "autopilot.fleet.state"
local report = require "autopilot.sync.report"
local path = arg[1]
io.stdout:setvbuf "no"
print(core.process_id())
local state = assert(fleet_state.open { path = path })
for number = state.done_before + 1, 100000 do
  local done = report.new { operation = "sync", outcome = "started", tenant = "t" .. number }
  assert(state:note("graph/t" .. number, done))
  print(number)
  if number % 40 == 0 then
    assert(state:finish())
    print "finished"
    state:close()
    state = assert(fleet_state.open { path = path })
  elseif number % 15 == 0 then
    assert(state:flush())
  end
end
]]

-- What the writer said before it was killed, read to the end.
local function kill_writer(script, path, after_lines)
  local pipe = io.popen(
    ("exec %s %s %s"):format(shell.quote(emulated_service.interpreter()), script, shell.quote(path))
  )
  local process = assert(pipe:read "*l")
  local lines = {}
  for line in pipe:lines() do
    lines[#lines + 1] = line
    if #lines == after_lines then
      -- It goes on writing while the signal is on its way: it stops at a random point.
      os.execute("kill -KILL " .. process)
    end
  end
  pipe:close()
  return lines
end

describe("the state file of a fleet", function()
  local chance = seeded_random.new "STATE_SEED"
  local file, path

  before_each(function()
    file = state_file.new()
    path = file.path
  end)

  after_each(function()
    file:close()
  end)

  it("loses no note, and is never damaged, when its process is killed", function()
    local script, remove_script = files.temporary(writer)
    local is_done, newest = {}, 0 -- what the file has to know, by what was said
    for _ = 1, 12 do
      for _, line in ipairs(kill_writer(script, path, chance:integer(1, 90))) do
        if line == "finished" then
          is_done = {}
        else
          newest = tonumber(line)
          is_done[newest] = true
        end
      end
      local state, message = fleet_state.open { path = path }
      assert.is_nil(message, tostring(chance))
      local is_finished = state.done_before == 0
      for number in pairs(is_done) do
        local known = state:known("graph/t" .. number)
        -- A run may have been finished without time left to say so; then it is forgotten as a whole.
        assert.equal(not is_finished, known ~= nil, ("%s: %d"):format(tostring(chance), number))
        assert.is_true(is_finished == false or newest % 40 == 0 or newest % 40 == 39)
      end
      for number = 1, newest do
        assert.truthy(state:cooldown("graph/t" .. number), tostring(chance))
      end
      state:finish()
      state:close()
      is_done = {}
    end
    remove_script()
  end)

  it("has what a plain table with the same history has", function()
    local now = 1790000000
    local model = { runs = {}, cooldowns = {}, triggers = {} }
    local subjects, outcomes =
      { "sync", "status", "ensure" }, { "started", "forbidden", "cooldown" }
    local subject, state

    local function reopen()
      subject = chance:pick(subjects)
      state = assert(fleet_state.open {
        path = path,
        subject = subject,
        now = function()
          return now
        end,
      })
      for name, run in pairs(model.runs) do
        model.runs[name] = run.started_at > now - 43200 and run or nil
      end
      model.runs[subject] = model.runs[subject] or { started_at = now, done = {} }
    end

    local function note(key)
      local outcome = chance:pick(outcomes)
      local given = report.new { operation = "sync", outcome = outcome, elapsed = now % 1000 }
      local ends
      if outcome == "started" then
        model.runs[subject].done[key] = now % 1000
        ends = now + 610
      elseif outcome == "cooldown" then
        given.retry_at = now + chance:integer(1, 600)
        ends = given.retry_at
      end
      model.cooldowns[key] = math.max(model.cooldowns[key] or 0, ends or 0)
      assert(state:note(key, given))
    end

    local function compare(key)
      local known = state:known(key)
      assert.equal(model.runs[subject].done[key], known and known.elapsed, tostring(chance))
      local ends = model.cooldowns[key]
      assert.equal(ends and ends > now and ends or nil, state:cooldown(key), tostring(chance))
    end

    reopen()
    for _ = 1, 1500 do
      local choice = chance:integer(1, 40)
      local key = "key " .. chance:integer(1, 12)
      if choice <= 2 then
        if choice == 1 then
          state:finish()
          model.runs[subject] = nil
        end
        state:close()
        now = now + chance:pick { 0, 1, 600, 40000 }
        reopen()
      elseif choice <= 20 then
        note(key)
      elseif choice <= 24 then
        now = now + chance:integer(0, 300)
      end
      compare(key)
    end
    state:close()
  end)

  it("keeps all notes before the point where a loss of power damaged it", function()
    local function open_and_note(first, last, sizes)
      local state = assert(fleet_state.open { path = path })
      for number = first, last do
        state:note("graph/" .. number, report.new { operation = "sync", outcome = "started" })
        sizes[number] = select(2, core.file_kind(path .. "-wal"))
      end
      return state
    end
    local sizes, count = {}, 40
    open_and_note(1, 10, {}):close() -- these are in the file itself
    local state = open_and_note(11, count, sizes)
    local main, log = files.read(path), files.read(path .. "-wal")
    state:close()

    for _ = 1, 60 do
      local place = chance:integer(0, #log - 1)
      local torn = log:sub(1, place)
      if chance:integer(1, 2) == 1 then -- or the rest is there, but not what was written last
        torn = torn .. string.char((log:byte(place + 1) + 1) % 256) .. log:sub(place + 2)
      end
      files.write(path, main)
      files.write(path .. "-wal", torn)
      local opened, message = fleet_state.open { path = path }
      assert.is_nil(message, tostring(chance))
      local is_whole = true
      for number = 1, count do
        local is_known = opened:known("graph/" .. number) ~= nil
        assert.is_true(is_known or number > 10 and sizes[number] > place, tostring(chance))
        assert.is_true(is_whole or not is_known, tostring(chance)) -- none after the first that is lost
        is_whole = is_known
      end
      opened:close()
    end
  end)

  it("with a damaged byte is refused, or read without an error", function()
    local state = assert(fleet_state.open { path = path })
    for index = 1, 50 do
      state:note("graph/" .. index, report.new { operation = "sync", outcome = "started" })
    end
    state:close()
    local whole = files.read(path)
    for _ = 1, 150 do
      local place = chance:integer(1, #whole)
      local damaged = whole:sub(1, place - 1)
        .. string.char((whole:byte(place) + chance:integer(1, 255)) % 256)
        .. whole:sub(place + 1)
      files.write(path, damaged)
      local opened, message = fleet_state.open { path = path }
      if opened then
        for index = 1, 50 do
          opened:known("graph/" .. index)
          opened:cooldown("graph/" .. index)
        end
        opened:close()
      else
        assert.matches("^the state file .*: it ", message)
        assert.is_true(files.read(path) == damaged, tostring(chance))
      end
      os.remove(path .. "-wal")
    end
  end)
end)
