local lazy = require "autopilot.base.lazy"
local read_ahead = require "autopilot.base.read_ahead"
local unloaded = require "support.unloaded"

describe("autopilot.base.lazy", function()
  local loads

  before_each(function()
    loads = 0
  end)

  after_each(function()
    package.loaded["spec.lazy"], package.preload["spec.lazy"] = nil, nil
  end)

  local function provide(module)
    package.preload["spec.lazy"] = function()
      loads = loads + 1
      return module
    end
  end

  it("loads a module when a field of it is first read, and once", function()
    provide { answer = 42 }
    local module = lazy "spec.lazy"
    assert.equal(0, loads)
    assert.equal(42, module.answer)
    assert.equal(42, module.answer)
    assert.is_nil(module.other)
    assert.equal(1, loads)
  end)

  it("calls a module that is a function, with all arguments and results", function()
    provide(function(...)
      return select("#", ...), ...
    end)
    local module = lazy "spec.lazy"
    assert.are.same({ 3, 1, nil, 3 }, { module(1, nil, 3) })
  end)

  it("lets the module's functions yield", function()
    provide(function()
      return coroutine.yield()
    end)
    local module = lazy "spec.lazy"
    local thread = coroutine.create(function()
      return module()
    end)
    assert.is_true(coroutine.resume(thread))
    assert.are.same({ true, "on" }, { coroutine.resume(thread, "on") })
  end)

  it("raises what require raises for a missing module", function()
    local module = lazy "spec.nowhere"
    assert.has_error(function()
      return module.field
    end)
  end)
end)

describe("autopilot.base.read_ahead", function()
  it("makes it unnecessary to read a module's file later", function()
    local name = "autopilot.spec_read_ahead"
    local directory = os.tmpname()
    os.remove(directory)
    assert(os.execute("mkdir -p " .. directory .. "/autopilot"))
    local file = assert(io.open(directory .. "/" .. name:gsub("%.", "/") .. ".lua", "wb"))
    file:write "return { answer = 42 }\n"
    file:close()
    local path = package.path
    package.path = directory .. "/?.lua;" .. path
    unloaded.run(function(close_files, missed)
      require "autopilot.base.read_ahead" "spec_read_ahead"
      close_files()
      assert.equal(42, require(name).answer)
      assert.are.same({}, missed)
    end)
    package.path = path
    os.execute("rm -r " .. directory)
  end)

  it("raises what require raises for a missing module", function()
    assert.has_error(function()
      read_ahead "nowhere"
    end)
  end)
end)
