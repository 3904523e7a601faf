--- The contract of stores, as functions that run under busted and inside nginx alike.
--
-- One of them is a random history. STORE_SEED repeats it.

local SeededRandom = require "support.seeded_random"

local contract = {}

local function equal(expected, given, what)
  if expected ~= given then
    local message = ("%s: expected %s, got %s"):format(what, tostring(expected), tostring(given))
    error(message, 2)
  end
end

local function add(name, promise)
  contract[#contract + 1] = { name = name, promise = promise }
end

add("has nothing at first", function(store)
  equal(nil, store:get "nothing", "get")
  equal(false, store:delete_if("nothing", "x"), "delete_if")
end)

add("adds only where nothing is", function(store)
  equal(true, store:add("a", "1", 10), "the first")
  local added, message = store:add("a", "2", 10)
  equal(nil, added, "the second")
  equal("exists", message, "why")
  equal("1", store:get "a", "get")
end)

add("keeps keys apart, and every byte of a value", function(store)
  local value = "\0\255 \r\n" .. ("x"):rep(500)
  equal(true, store:add("b:1", value, 10), "add")
  equal(true, store:add("b:2", "", 10), "an empty one")
  equal(value, store:get "b:1", "get")
  equal("", store:get "b:2", "get")
end)

add("sets whatever was there", function(store)
  equal(true, store:set("c", "1", 10), "the first")
  equal(true, store:set("c", "2", 10), "the second")
  equal("2", store:get "c", "get")
  local added, message = store:add("c", "3", 10)
  equal(nil, added, "add")
  equal("exists", message, "why")
end)

add("sets the same value again, for however long", function(store)
  for _, seconds in ipairs { 10, 1e17 } do
    equal(true, store:set("same", "1", seconds), "the first")
    equal(true, store:set("same", "1", seconds), "the second")
  end
end)

add("deletes only that value", function(store)
  store:add("d", "mine", 10)
  equal(false, store:delete_if("d", "other"), "another's")
  equal("mine", store:get "d", "get")
  equal(true, store:delete_if("d", "mine"), "its own")
  equal(nil, store:get "d", "get")
  equal(false, store:delete_if("d", "mine"), "again")
  equal(true, store:add("d", "next", 10), "and the place is free")
end)

add("keeps a value for a fraction of a second", function(store)
  local clock = require("autopilot.core").clock
  for _, method in ipairs { "add", "set" } do
    local began = clock()
    store[method](store, method, "1", 0.9)
    local value = store:get(method)
    if clock() - began < 0.8 then -- else the machine was too slow to see it
      equal("1", value, method)
    end
  end
end)

add("forgets after the time given, fractions of a second too", function(store, pass)
  store:add("e", "1", 0.03)
  store:set("f", "1", 0.03)
  store:add("g", "1", 100)
  pass(0.06)
  equal(nil, store:get "e", "added")
  equal(nil, store:get "f", "set")
  equal("1", store:get "g", "another")
  equal(false, store:delete_if("e", "1"), "delete_if")
  equal(true, store:add("e", "2", 10), "add")
  equal("2", store:get "e", "get")
end)

add("counts the time from the last set", function(store, pass)
  store:add("h", "1", 0.03)
  store:set("h", "1", 100)
  pass(0.06)
  equal("1", store:get "h", "get")
end)

add("takes the shortest time for what it is, not for ever", function(store, pass)
  store:add("i", "1", 1e-9)
  pass(0.02)
  equal(nil, store:get "i", "get")
end)

add("keeps a lease for as long as it is renewed, and no longer", function(store, pass)
  local Leases = require "autopilot.base.lease"
  local function call(...)
    return require("autopilot.store.contract").call(store, ...)
  end
  local one, other = Leases.new(call), Leases.new(call)
  local lease = one:take("lease", 1.2)
  for _ = 1, 2 do
    equal(true, lease:renew(100), "renew")
  end
  pass(1.3)
  equal("exists", select(2, other:take("lease", 1)), "longer than it was taken for")
  lease:release()
  local short = other:take("lease", 0.3)
  equal(false, lease:renew(1.2), "renew what is another's")
  pass(0.35)
  equal("table", type(one:take("lease", 1)), "after the other's has expired")
  equal(false, short:renew(1), "renew what has expired")
end)

add("raises at its caller for what is no key, no value or no time", function(store)
  local function raises(method, ...)
    local ok, message = pcall(store[method], store, ...)
    equal(false, ok, method)
    equal("store:" .. method, message:match "store:[%a_]+", "the message")
  end
  raises("get", nil)
  raises("get", "")
  raises("add", "k", 1, 10)
  raises("add", "k", "v", 0)
  raises("add", "k", "v", nil)
  raises("set", "k", "v", -1)
  raises("set", "k", "v", math.huge)
  raises("set", "k", "v", 0 / 0)
  raises("set", 1, "v", 1)
  raises("delete_if", "k", nil)
end)

local texts = {
  keys = { "a", "A", "a ", "ä", 'it\'s "one"', "%41" },
  values = { "1", "2", "'; DROP TABLE autopilot_store_1; --", '"\\%00%', "\0\255\r\n" },
}

--- What a store has to answer, in plain tables; `pass` lets time go by.
local function new_model()
  local model, values, ends, time = {}, {}, {}, 0
  function model.pass(seconds)
    time = time + seconds
  end
  function model.get(key)
    return (ends[key] or 0) > time and values[key] or nil
  end
  function model.set(key, value, seconds)
    values[key], ends[key] = value, time + seconds
    return true
  end
  function model.add(key, ...)
    if model.get(key) then
      return nil, "exists"
    end
    return model.set(key, ...)
  end
  function model.delete_if(key, value)
    local is_there = model.get(key) == value
    ends[key] = not is_there and ends[key] or nil
    return is_there
  end
  return model
end

-- Seconds: the short life of a value, and a time after which it has surely ended.
local short, longer = 0.03, 0.06

-- A value with a short life may be replaced, but is not asked for until that life has surely ended.
add("answers any sequence of calls as the contract says", function(store, pass)
  local random = SeededRandom.new "STORE_SEED"
  local model, is_dying = new_model(), {}
  for number = 1, 300 do
    if random:integer(1, 25) == 1 then
      pass(longer)
      model.pass(longer)
      is_dying = {}
    end
    local method = random:pick { "get", "set", "add", "delete_if" }
    local key, value = random:pick(texts.keys), random:pick(texts.values)
    local seconds = random:pick { 1000, 1e9, 500.5, short }
    if method == "set" or not is_dying[key] then
      local call = ("call %d, %s %q (%s)"):format(number, method, key, tostring(random))
      local expected, why = model[method](key, value, seconds)
      local given, message = store[method](store, "any " .. key, value, seconds)
      equal(expected, given, call)
      equal(why, message, call)
      if expected and (method == "set" or method == "add") then
        is_dying[key] = seconds == short
      end
    end
  end
end)

return contract
