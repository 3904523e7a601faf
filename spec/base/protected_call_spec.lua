-- Functions of the user may raise and may yield, on every Lua.

local protected_call = require "autopilot.base.protected_call"

--- What a thread gives each time that it is resumed, each with the value of the time before.
local function run_through(callable)
  local thread = coroutine.create(callable)
  local given, count = {}, 0
  local ok, value = coroutine.resume(thread)
  while coroutine.status(thread) ~= "dead" do
    count = count + 1
    given[count] = value
    ok, value = coroutine.resume(thread, "reply " .. count)
  end
  assert(ok, value)
  return given, value
end

describe("autopilot.base.protected_call", function()
  it("returns true and all results, nils included", function()
    local function count(...)
      return select("#", ...), ...
    end
    local number, ok, a, b, c = count(protected_call(function(...)
      return ..., nil, nil
    end, "x"))
    assert.equal(4, number)
    assert.is_true(ok)
    assert.equal("x", a)
    assert.is_nil(b)
    assert.is_nil(c)
  end)

  it("passes all arguments on", function()
    local _, number, last = protected_call(function(...)
      return select("#", ...), (select(3, ...))
    end, nil, nil, 3)
    assert.equal(3, number)
    assert.equal(3, last)
  end)

  it("returns false and the raised value, of any type", function()
    local object = {}
    for _, thrown in ipairs { object, 5, "text" } do
      local ok, caught = protected_call(error, thrown, 0)
      assert.is_false(ok)
      assert.equal(thrown, caught)
    end
    local ok, caught = protected_call(error, nil)
    assert.is_false(ok)
    assert.is_true(caught == nil or type(caught) == "string") -- Lua 5.5 would say so in words
  end)

  it("calls anything callable", function()
    local callable = setmetatable({}, {
      __call = function(_, value)
        return value + 1
      end,
    })
    assert.same({ true, 6 }, { protected_call(callable, 5) })
    assert.same({ false }, { (protected_call(nil)) })
  end)

  it("lets the function yield, any number of times, with all values in both directions", function()
    local given, result = run_through(function()
      local ok, a, b = protected_call(function()
        return coroutine.yield "one", coroutine.yield "two"
      end)
      assert(ok)
      return a .. ", " .. b
    end)
    assert.same({ "one", "two" }, given)
    assert.equal("reply 1, reply 2", result)
  end)

  it("catches an error after a yield", function()
    local given, result = run_through(function()
      local ok, caught = protected_call(function()
        coroutine.yield "one"
        error("late", 0)
      end)
      return tostring(ok) .. " " .. caught
    end)
    assert.same({ "one" }, given)
    assert.equal("false late", result)
  end)

  it("can be nested", function()
    local given, result = run_through(function()
      local _, _, inner = protected_call(function()
        return protected_call(coroutine.yield, "deep")
      end)
      return inner
    end)
    assert.same({ "deep" }, given)
    assert.equal("reply 1", result)
  end)

  it("raises Ctrl-C again, in the stand-alone interpreters' own words", function()
    local function stop() -- raises like the hook that lua.c sets: with the place, if there is one
      error("interrupted!", 2)
    end
    local ok, raised = pcall(protected_call, stop)
    assert.same({ false, "interrupted!" }, { ok, raised })
    ok, raised = pcall(protected_call, function()
      stop()
    end)
    assert.is_false(ok)
    assert.truthy(raised:find ":%d+: interrupted!$")
  end)

  it("raises Ctrl-C again after a yield, too", function()
    local thread = coroutine.create(function()
      return protected_call(function()
        coroutine.yield()
        error("interrupted!", 0)
      end)
    end)
    assert(coroutine.resume(thread))
    assert.same({ false, "interrupted!" }, { coroutine.resume(thread) })
  end)

  it("catches an error that only mentions an interrupt", function()
    for _, text in ipairs { "the read was interrupted!", "interrupted", "interrupted! again" } do
      assert.same({ false, text }, { protected_call(error, text, 0) })
    end
  end)

  it("lets Ctrl-C end a script from inside a protected call", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    assert(file:write [[
      local protected_call = require "autopilot.base.protected_call"
      print(protected_call(function()
        io.popen("kill -INT $PPID"):close()
        while true do end
      end))
    ]])
    file:close()
    local pipe = io.popen(("exec %s %s 2>&1"):format(os.getenv "LUA" or arg[-1] or "lua", path))
    local output = pipe:read "*a"
    pipe:close()
    os.remove(path)
    assert.truthy(output:find("interrupted!\nstack traceback:", 1, true), output)
  end)

  it(
    "makes no coroutine to find out how to protect: OpenResty's could not yield inside require",
    function()
      local name = "autopilot.base.protected_call"
      local create, yield = coroutine.create, coroutine.yield
      local function refuse()
        error "attempt to yield across C-call boundary"
      end
      package.loaded[name] = nil
      rawset(coroutine, "create", refuse)
      rawset(coroutine, "yield", refuse)
      local ok, loaded = pcall(require, name)
      rawset(coroutine, "create", create)
      rawset(coroutine, "yield", yield)
      package.loaded[name] = protected_call
      assert.is_true(ok, loaded)
      assert.same({ true, 5 }, { loaded(tonumber, "5") })
    end
  )
end)
