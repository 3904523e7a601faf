-- The README and the pages in doc/ are correct: their examples of Lua run as they are printed, against an emulated
-- service and in virtual time; their links lead somewhere; every page is linked from the README.

local autopilot = require "autopilot"
local command_process = require "support.command_process"
local lfs = require "lfs"
local pages = require "support.pages"
local source_tree = require "support.source_tree"

-- Blocks in other languages, and how many each page has. Those of nginx and the console are run by the specs in
-- spec/openresty/example_spec.lua and readme_shell_spec.lua; `text` is a drawing.
local other_blocks = {
  ["doc/command.md"] = { console = 1 },
  ["doc/design.md"] = { text = 1 },
  ["doc/openresty.md"] = { nginx = 2 },
}

--- The examples of a page.
local function examples(path)
  local found = {}
  for _, block in ipairs(pages.blocks(source_tree.read(path))) do
    found[#found + 1] = block.language == "lua" and block.code or nil
  end
  return found
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

--- What GitHub makes of a heading to link to it.
local function anchor(heading)
  return (heading:lower():gsub("[^%w%- _]", ""):gsub(" ", "-"))
end

--- Whether a Markdown file has a heading with this anchor.
local function has_anchor(path, wanted)
  for heading in ("\n" .. source_tree.read(path)):gmatch "\n#+ ([^\n]+)" do
    if anchor(heading) == wanted then
      return true
    end
  end
  return false
end

--- The path that a link leads to, from the root: `../README.md` in `doc/x.md` is `README.md`.
local function resolve(path, target)
  local folder = path:match "^(.*/)" or ""
  while target:find "^%.%./" do
    folder, target = folder:gsub("[^/]+/$", ""), target:sub(4)
  end
  return folder .. target
end

--- Whether a link that stays in this repository leads to a file, and to a heading of it.
local function leads_somewhere(path, target)
  local file, heading = target:match "^([^#]*)#?(.*)$"
  local place = file == "" and path or resolve(path, file)
  return lfs.attributes(place) and (heading == "" or has_anchor(place, heading))
end

describe("the documentation", function()
  for _, path in ipairs(pages.paths()) do
    it("has examples that run as printed: " .. path, function()
      for _, code in ipairs(examples(path)) do
        run(code, autopilot.emulator.new { duration = 60 })
      end
    end)

    it("has no example that is never run: " .. path, function()
      local counts = {}
      for _, block in ipairs(pages.blocks(source_tree.read(path))) do
        if block.language ~= "lua" then
          counts[block.language] = (counts[block.language] or 0) + 1
        end
      end
      assert.same(other_blocks[path] or {}, counts)
    end)

    it("has working links: " .. path, function()
      local broken = {}
      for target in source_tree.read(path):gmatch "%]%(([^)%s]+)%)" do
        if not target:find "^https?:" and not leads_somewhere(path, target) then
          broken[#broken + 1] = target
        end
      end
      assert.same({}, broken)
    end)
  end

  it("is linked from the README", function()
    local readme, missing = source_tree.read "README.md", {}
    for _, path in ipairs(source_tree.files("doc", "md")) do
      missing[#missing + 1] = not readme:find("](" .. path .. ")", 1, true) and path or nil
    end
    assert.same({}, missing)
  end)
end)

--- The fields of a class of LuaCATS, wherever in lua/ it is.
local function fields_of(class)
  for _, path in ipairs(source_tree.files("lua", "lua")) do
    local _, position = source_tree.read(path):find("@class " .. class .. "%f[^%w_.][^\n]*\n")
    local fields = {}
    for line in (position and source_tree.read(path):sub(position + 1) or ""):gmatch "[^\n]*" do
      local name = line:match "^%-%-%-@field ([%w_]+)"
      fields[#fields + 1] = name
      if line ~= "" and (not line:find "^%-%-%-" or line:find "^%-%-%-@class") then
        break
      end
    end
    if position then
      return fields
    end
  end
  error("there is no class " .. class)
end

-- What each page must name: the fields of these classes, the options of these commands.
local classes = {
  ["autopilot.ClientOptions"] = "doc/client.md",
  ["autopilot.Report"] = "doc/client.md",
  ["autopilot.Attempt"] = "doc/client.md",
  ["autopilot.Progress"] = "doc/client.md",
  ["autopilot.Check"] = "doc/client.md",
  ["autopilot.FleetOptions"] = "doc/fleet.md",
  ["autopilot.RetryPolicyOptions"] = "doc/retry.md",
  ["autopilot.RetryWorld"] = "doc/retry.md",
  ["autopilot.EmulatorOptions"] = "doc/testing.md",
}
local commands = {
  sync = "doc/command.md",
  status = "doc/command.md",
  wait = "doc/command.md",
  ensure = "doc/command.md",
  fleet = "doc/command.md",
  token = "doc/command.md",
  doctor = "doc/command.md",
  emulate = "doc/testing.md",
}

describe("the pages", function()
  for class, path in pairs(classes) do
    it("name every field of " .. class, function()
      local page, missing = source_tree.read(path), {}
      local fields = fields_of(class)
      assert.is_true(#fields > 2)
      for _, name in ipairs(fields) do
        missing[#missing + 1] = not page:find("%f[%w_]" .. name .. "%f[^%w_]") and name or nil
      end
      assert.same({}, missing)
    end)
  end

  for command, path in pairs(commands) do
    it("name every option of autopilot-sync " .. command, function()
      local page = source_tree.read(path) .. source_tree.read "doc/command.md"
      local code, help = command_process.run(command .. " --help")
      assert.equal(0, code)
      local missing = {}
      for option in help:gmatch "\n   (%-%-[%l-]+)" do
        local is_named = option == "--help" or page:find(option:gsub("%-", "%%-") .. "%f[^%w-]")
        missing[#missing + 1] = not is_named and option or nil
      end
      assert.same({}, missing)
    end)
  end
end)

describe("README.md", function()
  it("has at most 200 lines, and tells how to install before how to write a script", function()
    local readme = source_tree.read "README.md"
    local _, lines = readme:gsub("\n", "")
    assert.is_true(lines <= 200)
    assert.is_true(readme:find "\n## Install\n" < readme:find "\n## A first script\n")
  end)

  it("shows the output of its first scripts", function()
    local blocks = examples "README.md"
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
    assert.matches("^   0%.0 s  sync: no sync was triggered since then$", second[2])
  end)

  it("names the accounts for which the Azure CLI's sign-in works, as the help does", function()
    local code, help = command_process.run "sync --help"
    assert.equal(0, code)
    local readme = source_tree.read("README.md"):gsub("%s+", " ")
    assert.truthy(readme:find "identity that is signed in to `az`, and never for a person")
    assert.truthy(readme:find("AADSTS65002", 1, true))
    assert.matches(
      "signed in to the Azure CLI; a person's sign%-in there cannot be given the permission",
      (help:gsub("%s+", " "))
    )
  end)

  it("names every outcome with the command's exit status", function()
    local text = source_tree.read "README.md"
    for name in pairs(require("autopilot.sync.outcome").all) do
      assert.truthy(text:find("`" .. name .. "`", 1, true), name)
    end
  end)
end)
