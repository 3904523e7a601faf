-- One holder at a time for each key, in a table of this process and in a store alike.

local Leases = require "autopilot.base.lease"
local core = require "autopilot.core"
local stores = require "autopilot.store"

local time

local function now()
  return time
end

--- Sleeps in virtual time, and lets other coroutines run.
local function sleep(seconds)
  time = time + seconds
  local thread, is_main = coroutine.running()
  if thread and not is_main then
    coroutine.yield()
  end
end

local function shared_leases(store)
  return Leases.new(function(method, ...)
    return store[method](store, ...)
  end, now)
end

--- Runs the functions in turn until all have returned.
local function run(...)
  local threads = {}
  for index, act in ipairs { ... } do
    threads[index] = coroutine.create(act)
  end
  for _ = 1, 10000 do
    local is_over = true
    for _, thread in ipairs(threads) do
      if coroutine.status(thread) ~= "dead" then
        assert(coroutine.resume(thread))
        is_over = false
      end
    end
    if is_over then
      return
    end
  end
  error "they do not end"
end

before_each(function()
  time = 1700000000.25
end)

for _, place in ipairs { "a table of this process", "a store" } do
  describe("a lease in " .. place, function()
    local leases

    before_each(function()
      leases = place == "a store" and shared_leases(stores.memory { now = now }) or Leases.new()
    end)

    it("is held by one at a time", function()
      local lease = assert(leases:take("key", 60))
      local none, message = leases:take("key", 60)
      assert.is_nil(none)
      assert.equal("exists", message)
      assert.is_truthy((leases:take("other", 60)))
      lease:release()
      assert.is_truthy((leases:take("key", 60)))
    end)

    it("tells its holder", function()
      assert.is_nil((leases:holder "key"))
      local lease = assert(leases:take("key", 60))
      assert.equal(lease.id, (leases:holder "key"))
      lease:release()
      assert.is_nil((leases:holder "key"))
    end)

    it("is not released by a former holder", function()
      local first = assert(leases:take("key", 60))
      leases.call("delete_if", "key", select(3, leases:holder "key"))
      local second = assert(leases:take("key", 60))
      assert.is_false(first:renew(60))
      first:release()
      assert.equal(second.id, (leases:holder "key"))
    end)

    it("can be waited for until it is released, and then gives the holder's result", function()
      local how, seen
      run(function()
        local lease = assert(leases:take("key", 60))
        sleep(1)
        lease:release "result"
      end, function()
        how, seen = leases:wait("key", { sleep = sleep, now = now, seconds = 60 })
      end)
      assert.equal("over", how)
      assert.equal("result", seen.lease.result)
      assert.is_true(time < 1700000003)
    end)

    it("is not waited for when it is free", function()
      local how, seen = leases:wait("key", { sleep = error, now = now, seconds = 60 })
      assert.equal("over", how)
      assert.is_nil(seen)
    end)

    it("is waited for until a deadline at most", function()
      local how
      run(function()
        assert(leases:take("key", 60))
        sleep(1)
        coroutine.yield()
      end, function()
        how = leases:wait("key", { sleep = sleep, now = now, seconds = 0.5 })
      end)
      -- A holder in this process is seen to have ended.
      assert.equal(place == "a store" and "late" or "over", how)
    end)
  end)
end

describe("a lease in a store", function()
  it("ends when its time is over", function()
    local leases = shared_leases(stores.memory { now = now })
    local lease = assert(leases:take("key", 60))
    local _, seconds = leases:holder "key"
    assert.equal(60, seconds)
    time = time + 61
    assert.is_truthy((leases:take("key", 60)))
    assert.is_false(lease:renew(60))
  end)

  it("lasts longer when it is renewed", function()
    local leases = shared_leases(stores.memory { now = now })
    local lease = assert(leases:take("key", 60))
    time = time + 50
    assert.is_true(lease:renew(60))
    time = time + 50
    assert.is_nil((leases:take("key", 60)))
  end)

  it("counts as lost shortly before its time is over", function()
    local leases = shared_leases(stores.memory { now = now })
    local lease = assert(leases:take("key", 60))
    time = time + 59.95
    assert.is_false(lease:renew(60))
  end)

  it("is kept when the store fails", function()
    local store = stores.memory { now = now }
    local leases, is_down = shared_leases(store), false
    local call = leases.call
    function leases.call(...)
      if is_down then
        return nil, "down"
      end
      return call(...)
    end
    local lease = assert(leases:take("key", 60))
    is_down = true
    time = time + 10
    assert.is_true(lease:renew(60))
    is_down = false
    lease:release()
    assert.is_nil((leases:holder "key"))
  end)

  it("is kept and released after a renewal that failed, but was written", function()
    local store = stores.memory { now = now }
    local set = store.set
    function store.set(...)
      set(...)
      return nil, "the reply was lost"
    end
    local lease = assert(shared_leases(store):take("key", 60))
    lease:renew(60)
    assert.is_true(lease:renew(60))
    store.set = set
    assert.is_true(lease:renew(60))
    lease:release()
    assert.is_nil(store:get "key")
  end)

  it("is released after a last renewal that failed, but was written", function()
    local store = stores.memory { now = now }
    local set = store.set
    local lease = assert(shared_leases(store):take("key", 60))
    function store.set(...)
      set(...)
      return nil, "the reply was lost"
    end
    lease:renew(60)
    lease:release()
    assert.is_nil(store:get "key")
  end)

  it("is released even if the store fails once", function()
    local leases, failures = shared_leases(stores.memory { now = now }), 1
    local call = leases.call
    function leases.call(method, ...)
      if method == "delete_if" and failures > 0 then
        failures = failures - 1
        return nil, "down"
      end
      return call(method, ...)
    end
    assert(leases:take("key", 60)):release()
    assert.is_nil((leases:holder "key"))
  end)

  it("is waited for by sleeping when another process holds it", function()
    local store, slept = stores.memory { now = now }, 0
    store:add("key", "another-process", 5)
    local how = shared_leases(store):wait("key", {
      sleep = function(seconds)
        slept, time = slept + seconds, time + seconds
      end,
      now = now,
      seconds = 60,
    })
    assert.equal("over", how)
    assert.is_true(slept >= 5 and slept < 5.1)
  end)

  it("is waited for until the given time at most", function()
    local store = stores.memory { now = now }
    store:add("key", "another-process", 500)
    local began = time
    local how, seen = shared_leases(store):wait("key", { sleep = sleep, now = now, seconds = 7 })
    assert.equal("late", how)
    assert.equal("another-process", seen.id)
    assert.is_true(time - began > 6.999 and time - began < 7.1)
  end)

  it("is waited for by blocking when an error has ended the work of its holder", function()
    local leases, kept = shared_leases(stores.memory { now = now }), nil
    local function hold()
      kept = assert(leases:take("key", 60)) -- it is known as held here until it is collected
      error "its own"
    end
    local holder, sleep_of_system = coroutine.create(hold), core.sleep
    finally(function()
      core.sleep = sleep_of_system
    end)
    function core.sleep(seconds)
      time = time + seconds
    end
    for _, act in pairs { pcall = pcall, resume = coroutine.resume } do
      local began = time
      act(act == pcall and hold or holder)
      assert.equal("over", (leases:wait("key", { now = now, seconds = 100 })))
      assert.is_true(time - began > 59 and time - began < 61)
      assert.is_table(kept)
    end
  end)

  it("is not waited for when waiting would block its holder", function()
    local leases = shared_leases(stores.memory { now = now })
    local holder = coroutine.create(function()
      local lease = assert(leases:take("key", 60)) -- kept: it is known as held here until it is collected
      coroutine.yield()
      lease:release()
    end)
    assert(coroutine.resume(holder))
    if select(2, coroutine.running()) ~= false then -- outside of all coroutines
      assert.equal("late", (leases:wait("key", { sleep = core.sleep, now = now, seconds = 60 })))
    end
  end)
end)
