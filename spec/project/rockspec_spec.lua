-- The rockspec lists the existing files, and the version is the same everywhere.

local lfs = require "lfs"
local source_tree = require "support.source_tree"
local version = require "autopilot.version"

-- A rockspec is Lua that only sets globals: runs it with an empty table for these.
local function load_rockspec(path)
  local text, globals = source_tree.read(path), {}
  local setfenv = rawget(_G, "setfenv")
  if setfenv then
    setfenv(assert(rawget(_G, "loadstring")(text, "@" .. path)), globals)()
  else
    assert(load(text, "@" .. path, "t", globals))()
  end
  return globals
end

local function sorted(list)
  local copy = {}
  for index, value in ipairs(list) do
    copy[index] = value
  end
  table.sort(copy)
  return copy
end

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")

local scm_path = "rockspec/autopilot-sync-scm-1.rockspec"
local scm = load_rockspec(scm_path)

-- Lays one table over another, as LuaRocks does with the parts for a platform.
local function lay_over(below, above)
  for key, value in pairs(above) do
    if type(value) == "table" and type(below[key]) == "table" then
      lay_over(below[key], value)
    else
      below[key] = value
    end
  end
end

--- What LuaRocks builds the C module from, and its library of libcurl, on the given platforms.
---@param ... string from the least to the most specific
---@return table module
---@return string library
local function built_for(...)
  local spec = load_rockspec(scm_path)
  for _, platform in ipairs { ... } do
    lay_over(spec.build, spec.build.platforms[platform] or {})
    lay_over(spec.external_dependencies, spec.external_dependencies.platforms[platform] or {})
  end
  return spec.build.modules["autopilot.core"], spec.external_dependencies.CURL.library
end

local function names_of_dependencies()
  local names = {}
  for _, dependency in ipairs(scm.dependencies) do
    names[#names + 1] = dependency:match "^%S+"
  end
  return names
end

describe("the rockspec", function()
  it("lists every Lua module with its file, and nothing else", function()
    local expected, listed = {}, {}
    for _, path in ipairs(source_tree.files("lua", "lua")) do
      expected[source_tree.module_name(path)] = path
    end
    for name, source in pairs(scm.build.modules) do
      if type(source) == "string" then
        listed[name] = source
      end
    end
    assert.are.same(expected, listed)
  end)

  it("lists every C source, first the one that refuses an old libcurl, then in order", function()
    local common = scm.build.modules["autopilot.core"].sources
    assert.are.equal("src/core.c", common[1])
    local others = sorted { unpack(common, 2) }
    assert.are.same(others, { unpack(common, 2) })
    assert.are.same(source_tree.files("src", "c"), sorted(built_for("unix").sources))
  end)

  it("builds the thread for event loops on Unix only, as the Makefile does", function()
    local posix_only = source_tree.read("Makefile"):match "posix_only := %$%(addprefix src/,(.-)%)"
    local sources = built_for("windows").sources
    for name in posix_only:gmatch "%S+" do
      table.insert(sources, "src/" .. name)
    end
    assert.are.same(built_for("unix").sources, sources)
  end)

  it("names the libraries that C needs on Windows", function()
    local module, library = built_for "windows"
    assert.are.same({ "libcurl", "ws2_32", "bcrypt", "advapi32" }, module.libraries)
    assert.are.equal("libcurl", library)
    module, library = built_for("windows", "win32", "mingw32")
    assert.are.same({ "curl", "ws2_32", "bcrypt", "advapi32" }, module.libraries)
    assert.are.equal("curl", library)
    assert.are.same({ "$(CURL_INCDIR)" }, module.incdirs)
    assert.are.same({ "$(CURL_LIBDIR)" }, module.libdirs)
  end)

  it("has one C module only", function()
    for name, source in pairs(scm.build.modules) do
      assert.is_true(type(source) == "string" or name == "autopilot.core")
    end
  end)

  it("installs every command", function()
    local commands = {}
    for name in lfs.dir "bin" do
      if name:sub(1, 1) ~= "." then
        commands[#commands + 1] = "bin/" .. name
      end
    end
    assert.are.same(sorted(commands), sorted(scm.build.install.bin))
  end)

  it("is built by LuaRocks alone, which finds libcurl by its library", function()
    assert.are.equal("builtin", scm.build.type)
    -- A `header` would not be found where headers are kept for each architecture, as on Debian.
    assert.are.same({ library = "curl" }, scm.external_dependencies.CURL)
  end)

  it("names the included licence", function()
    assert.is_truthy(source_tree.read("LICENSE"):find(scm.description.license, 1, true))
  end)
end)

describe("the README", function()
  it("names every dependency", function()
    local readme = source_tree.read "README.md"
    for _, name in ipairs(names_of_dependencies()) do
      assert.is_truthy(readme:lower():find(name:lower(), 1, true), name)
    end
    assert.is_truthy(readme:find("libcurl", 1, true))
  end)
end)

describe("the version", function()
  it("has three numbers", function()
    assert.is_truthy(version:match "^%d+%.%d+%.%d+$")
  end)

  it("is that of every rockspec of a release, in its name and inside", function()
    local seen = 0
    for _, path in ipairs(source_tree.files("rockspec", "rockspec")) do
      local globals = load_rockspec(path)
      local name = ("rockspec/%s-%s.rockspec"):format(globals.package, globals.version)
      assert.are.equal(path, name)
      assert.are.equal("autopilot-sync", globals.package)
      if globals.version:match "^scm%-%d+$" then
        seen = seen + 1
      else
        assert.are.equal(version, globals.version:match "^(.-)%-%d+$")
      end
    end
    assert.are.equal(1, seen)
  end)

  it("is the newest one in the changelog, once that has one", function()
    local newest = source_tree.read("CHANGELOG.md"):match "\n## %[(%d[^%]]*)%]"
    assert.is_true(newest == nil or newest == version)
  end)

  it("is written in one place", function()
    local places = {}
    for _, folder in ipairs { "lua", "src", "bin" } do
      for _, path in ipairs(source_tree.files(folder, "lua", "c", "h")) do
        if source_tree.read(path):find('"' .. version .. '"', 1, true) then
          places[#places + 1] = path
        end
      end
    end
    assert.are.same({ "lua/autopilot/version.lua" }, places)
  end)
end)
