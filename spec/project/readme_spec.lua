-- The README's examples are run as they are printed: against an emulated service, in virtual time.

local autopilot = require "autopilot"
local files = require "support.files"

--- The code between ```lua and ```.
local function examples()
  local blocks = {}
  for code in files.read("README.md"):gmatch "```lua\n(.-)```" do
    blocks[#blocks + 1] = code
  end
  return blocks
end

--- What an example sees as `require "autopilot"`: the real library, but a client without a transport
-- of its own talks to the emulated service, and its time is that service's.
local function emulated_library(service)
  local library = setmetatable({}, { __index = autopilot })
  function library.client(options)
    options.transport = options.transport or service:transport()
    options.sleep = options.sleep or function(seconds)
      service:advance(seconds)
    end
    options.now = options.now or function()
      return service:now()
    end
    options.clock = options.clock or options.now
    return autopilot.client(options)
  end
  function library.fleet(options)
    options.transport = service:transport()
    return autopilot.fleet(options)
  end
  return library
end

local function run(code, service)
  local printed = {}
  local environment = setmetatable({
    require = function(name)
      return name == "autopilot" and emulated_library(service) or require(name)
    end,
    print = function(...)
      printed[#printed + 1] = tostring((...))
    end,
    os = {
      getenv = function(name)
        return name == "AUTOPILOT_TOKEN" and service:issue_token { tenant = "contoso.example" }
          or nil
      end,
      time = function()
        return service:now()
      end,
    },
  }, { __index = _G })
  local chunk
  -- luacheck: push ignore 113 (5.1 and LuaJIT give a chunk its globals in another way)
  if setfenv then
    chunk = setfenv(assert(loadstring(code)), environment)
  else
    chunk = assert(load(code, "example", "t", environment))
  end
  -- luacheck: pop
  chunk()
  return printed
end

describe("README.md", function()
  it("has examples that run as printed", function()
    local blocks = examples()
    assert.equal(10, #blocks)
    for _, code in ipairs(blocks) do
      run(code, autopilot.emulator.new { duration = 60 })
    end
  end)

  it("shows in its first scripts what they print", function()
    local blocks = examples()
    local first = run(blocks[1], autopilot.emulator.new {})
    assert.matches(
      "^sync contoso%.example: started %(HTTP 204, confirmed by the response, request%-id ",
      first[1]
    )
    local second = run(blocks[2], autopilot.emulator.new { duration = 60 })
    assert.matches(
      "^ensure contoso%.example: completed %(HTTP 200, confirmed by the response, request%-id ",
      second[1]
    )
    assert.matches("^   0%.0 s  sync: no sync was triggered since$", second[2])
  end)

  it("names every outcome, with the exit status of the command where it is told", function()
    local text = files.read "README.md"
    for name in pairs(require("autopilot.sync.outcome").all) do
      assert.truthy(text:find("`" .. name .. "`", 1, true), name)
    end
  end)
end)
