-- The architecture: which file may include or require which.

local source_tree = require "support.source_tree"

local c_files = source_tree.files("src", "c", "h")
local lua_files = source_tree.files("lua", "lua")

local function is_binding(path)
  local name = path:match "[^/]+$"
  return name:match "^lua_" ~= nil or name == "core.c"
end

-- `wrong` is a list of what breaks a rule: the failure then names every place.
local function assert_none(wrong)
  assert.are.same({}, wrong)
end

--- Every C file: its path, and its text without comments and strings.
local function bare_c_files()
  local index = 0
  return function()
    index = index + 1
    local path = c_files[index]
    return path, path and source_tree.bare_c(source_tree.read(path))
  end
end

-- What each C file includes: local[path] and system[path] are lists of names.
local local_includes, system_includes = {}, {}
for _, path in ipairs(c_files) do
  local_includes[path], system_includes[path] = {}, {}
  for opening, name in source_tree.read(path):gmatch '#%s*include%s*(["<])([^">]+)[">]' do
    table.insert((opening == '"' and local_includes or system_includes)[path], name)
  end
end

-- What each Lua module requires of ours, in whatever form the call has.
local requires = {}
for _, path in ipairs(lua_files) do
  local text = source_tree.bare_lua(source_tree.read(path))
  requires[source_tree.module_name(path)] = source_tree.named_modules(text)
end

-- Follows `edges` from every node; returns the first circle as text, or nil.
local function find_circle(edges)
  local state = {}
  local function visit(node, trail)
    trail = trail .. " -> " .. node
    if state[node] == "open" then
      return trail
    end
    if state[node] or not edges[node] then
      return nil
    end
    state[node] = "open"
    for _, target in ipairs(edges[node]) do
      local circle = visit(target, trail)
      if circle then
        return circle
      end
    end
    state[node] = "done"
  end
  for node in pairs(edges) do
    local circle = visit(node, "")
    if circle then
      return circle
    end
  end
  return nil
end

describe("the rings of the C sources", function()
  it("are found in their folder", function()
    assert.is_true(#c_files > 10)
    assert.is_true(#local_includes["src/core.c"] > 0)
  end)

  it("keep Lua's headers out of plain C", function()
    local wrong = {}
    for _, path in ipairs(c_files) do
      for _, list in ipairs { system_includes[path], local_includes[path] } do
        for _, name in ipairs(list) do
          local is_luas = name:match "^lua%.h" or name:match "^lauxlib" or name:match "^lualib"
          if not is_binding(path) and (is_luas or name:match "^luajit" or name:match "^lua_") then
            wrong[#wrong + 1] = path .. " includes " .. name
          end
        end
      end
    end
    assert_none(wrong)
  end)

  it("have no include cycles", function()
    local edges = {}
    for path, names in pairs(local_includes) do
      if path:match "%.h$" then
        edges[path:match "[^/]+$"] = names
      end
    end
    assert.is_nil(find_circle(edges))
  end)

  it("never call Lua, and no struct keeps a Lua state", function()
    local wrong = {}
    for path, text in bare_c_files() do
      for _, name in ipairs { "lua_call", "lua_callk", "lua_pcall", "lua_pcallk", "lua_resume" } do
        if text:find("%f[%w_]" .. name .. "%f[^%w_]") then
          wrong[#wrong + 1] = path .. ": " .. name
        end
      end
      if text:find "lua_State%s*%*%s*[%w_]+%s*;" then
        wrong[#wrong + 1] = path .. ": keeps a lua_State"
      end
    end
    assert_none(wrong)
  end)
end)

describe("the C sources", function()
  -- Writing without a bound, the locale, the process's end or output, hidden state, lax parsing.
  local banned = {}
  local names = [[
    sprintf vsprintf strcpy stpcpy strcat strncat gets alloca
    atoi atol atoll atof strtod strtof strtold scanf sscanf fscanf curl_getdate
    setlocale localeconv isalpha isdigit isalnum isspace isxdigit isupper islower isprint iscntrl
    ispunct isgraph toupper tolower strcasecmp strncasecmp strcoll strftime
    strtok localtime gmtime asctime ctime mktime timegm rand srand random strerror
    abort exit _exit _Exit quick_exit atexit assert system popen signal setenv putenv unsetenv
    printf vprintf fprintf vfprintf puts fputs putchar perror
  ]]
  for name in names:gmatch "%S+" do
    banned[name] = true
  end
  -- What exit would free under a thread of ours, that thread has to let go of before.
  local allowed = { ["src/transfer_thread.c"] = { atexit = true } }

  it("use no banned function", function()
    local wrong = {}
    for path, text in bare_c_files() do
      for name in text:gmatch "%f[%w_]([%a_][%w_]*)%s*%(" do
        if banned[name] and not (allowed[path] and allowed[path][name]) then
          wrong[#wrong + 1] = path .. ": " .. name
        end
      end
    end
    assert_none(wrong)
  end)

  it("never switch off the verification of TLS", function()
    local wrong = {}
    for path, text in bare_c_files() do
      for option, value in text:gmatch "CURLOPT_([%u_]*SSL_VERIFY%u+)%s*,%s*(%w+)" do
        if value:match "^0" or value == "false" then
          wrong[#wrong + 1] = path .. ": " .. option .. " = " .. value
        end
      end
    end
    assert_none(wrong)
  end)

  it("have at most 400 lines a file", function()
    local wrong = {}
    for _, path in ipairs(c_files) do
      local _, lines = source_tree.read(path):gsub("\n", "")
      if lines > 400 then
        wrong[#wrong + 1] = path .. ": " .. lines
      end
    end
    assert_none(wrong)
  end)
end)

describe("the built C module", function()
  local function find_module()
    for pattern in package.cpath:gmatch "[^;]+" do
      local path = pattern:gsub("%?", "autopilot/core")
      local file = io.open(path, "rb")
      if file then
        file:close()
        return path
      end
    end
    error "autopilot.core is not on package.cpath"
  end

  it("exports luaopen_autopilot_core and nothing else", function()
    local pipe = assert(io.popen("nm -D --defined-only '" .. find_module() .. "'"))
    local exported = {}
    for line in pipe:lines() do
      local name = line:match "(%S+)$"
      -- A sanitizer's or a profiler's own names begin with two underscores.
      if not name:match "^__" then
        exported[#exported + 1] = name
      end
    end
    pipe:close()
    assert.are.same({ "luaopen_autopilot_core" }, exported)
  end)
end)

describe("the rings of the Lua modules", function()
  -- A folder of lua/autopilot is a ring; a module may require its own folder and those named here.
  local inner = {
    base = {},
    retry = { "base" },
    store = { "base" },
    transport = { "base" },
    token = { "base", "retry", "store", "transport" },
    graph = { "base", "retry", "store", "transport" },
  }
  local function extend(name, below, ...)
    inner[name] = { below, ... }
    for _, further in ipairs(inner[below]) do
      table.insert(inner[name], further)
    end
  end
  extend("sync", "graph")
  extend("share", "sync")
  extend("client", "share", "token")
  extend("fleet", "client")
  inner.emulator = { "base" }
  inner.types = {} -- declarations for editors, which nothing loads
  inner.init = { "client", "fleet", "retry", "store", "transport", "token", "emulator", "base" }
  -- The command, and the library as nginx sees it, are the outermost: nothing requires them.
  extend("openresty", "client", "init")
  inner.cli = {}
  for name in pairs(inner) do
    table.insert(inner.cli, name)
  end

  -- The C module, and the version, stand below all rings.
  local everywhere = { ["autopilot.core"] = true, ["autopilot.version"] = true }

  local function ring(name)
    return name:match "^autopilot%.([%w_]+)" or "init"
  end

  local function may_require(name, target)
    local from, to = ring(name), ring(target)
    if everywhere[target] or from == to then
      return true
    end
    for _, allowed in ipairs(inner[from] or {}) do
      if allowed == to then
        return true
      end
    end
    return false
  end

  it("assign a ring to every module", function()
    local wrong = {}
    for name in pairs(requires) do
      if not everywhere[name] and not inner[ring(name)] then
        wrong[#wrong + 1] = name
      end
    end
    assert_none(wrong)
  end)

  it("have no require that points outwards", function()
    local wrong = {}
    for name, required in pairs(requires) do
      for _, target in ipairs(required) do
        if not may_require(name, target) then
          wrong[#wrong + 1] = name .. " requires " .. target
        end
      end
    end
    assert_none(wrong)
  end)

  it("have no cycles", function()
    assert.is_nil(find_circle(requires))
  end)

  it("name only modules that exist", function()
    local wrong = {}
    for name, required in pairs(requires) do
      for _, target in ipairs(required) do
        if target ~= "autopilot.core" and not requires[target] then
          wrong[#wrong + 1] = name .. " requires " .. target
        end
      end
    end
    assert_none(wrong)
  end)
end)
