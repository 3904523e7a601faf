-- Annotations for editors: those of LuaCATS declare every name in the pages, and the C module.
--
-- The names come from the tables in doc/, from the library itself and from src/. Where lua-language-server is on
-- PATH it is asked, too: it has to find the mistakes of a script.

local cjson = require "cjson"
local files = require "support.files"
local shell = require "autopilot.cli.emulate.shell"
local source_tree = require "support.source_tree"

-- By name of the class: its fields with their types, its parents and the files that declare it. By name of the alias: true.
local classes, aliases = {}, {}

local function class_of(name)
  classes[name] = classes[name] or { fields = {}, parents = {}, places = {} }
  return classes[name]
end

--- Reads the classes of a file: their fields, and what is set in the tables that stand below them.
local function read_classes(path)
  local tables, current = {}, nil
  for line in (source_tree.read(path) .. "\n"):gmatch "([^\n]*)\n" do
    local class, rest = line:match "^%-%-%-@class ([%w_.]+)(.*)"
    local alias = line:match "^%-%-%-@alias ([%w_.]+)"
    local field, field_type = line:match "^%-%-%-@field ([%w_]+)%??%s+(.+)"
    local bound = line:match "^local ([%w_]+) = "
    local owner, method = line:gsub("^function ", ""):match "^([%w_]+)[.:]([%w_]+)[ (]"
    if class then
      current = class_of(class)
      table.insert(current.places, path)
      for parent in rest:gsub("^[^:].*", ""):gmatch "autopilot%.[%w_.]+" do
        table.insert(current.parents, parent)
      end
    elseif alias then
      aliases[alias] = true
    elseif field and current and field ~= "package" then
      current.fields[field] = field_type
    elseif bound and current then
      tables[bound], current = current, nil
    elseif owner and tables[owner] then
      tables[owner].fields[method] = "any"
    elseif not line:find "^%-%-%-" then
      current = nil -- a blank line ends what is declared of a class
    end
  end
end

local paths = source_tree.files("lua", "lua")
for _, path in ipairs(paths) do
  read_classes(path)
end

--- The type of a field of a class or of its parents; nil if it is not declared.
local function type_of(class, field)
  local declared = assert(classes[class], "there is no class " .. class)
  if declared.fields[field] then
    return declared.fields[field]
  end
  for _, parent in ipairs(declared.parents) do
    local found = type_of(parent, field)
    if found then
      return found
    end
  end
end

--- Asserts that the class has all the fields.
local function assert_declared(class, names)
  local missing = {}
  for _, name in ipairs(names) do
    missing[#missing + 1] = not type_of(class, name) and name or nil
  end
  assert.is_true(#names > 0)
  assert.same({}, missing, class)
end

--- The rows of the first table below a heading of a page; a row is a list of its cells.
local function rows_of(path, heading)
  local text = source_tree.read(path)
  local _, start = text:find("\n" .. heading .. "\n", 1, true)
  assert(start, path .. " has no " .. heading)
  local rows = {}
  for line in
    text
      :sub(text:find("\n|", start, true), (text:find("|\n\n", start, true)))
      :gmatch "\n| (`[^\n]*) |"
  do
    local cells = {}
    for cell in (line .. " | "):gmatch "(.-) | " do
      cells[#cells + 1] = cell
    end
    rows[#rows + 1] = cells
  end
  return rows
end

--- The names in code in one cell of each row: `` `name` `` or `` `name(…)` ``.
local function names_in(rows, cell)
  local names = {}
  for _, row in ipairs(rows) do
    for name in (row[cell] or ""):gmatch "`([%a_][%w_]*)[^`]*`" do
      names[#names + 1] = name
    end
  end
  return names
end

describe("the annotations for editors", function()
  it("declare the facade: all names that the pages use", function()
    local autopilot, names, seen = require "autopilot", {}, {}
    for _, path in ipairs(source_tree.files("doc", "md")) do
      for name in source_tree.read(path):gmatch "%f[%w_]autopilot%.([%a_]+)" do
        if not seen[name] and name ~= "core" and autopilot[name] ~= nil then
          seen[name], names[#names + 1] = true, name
        end
      end
    end
    assert_declared("autopilot", names)
    for field in pairs(classes["autopilot"].fields) do
      assert.truthy(autopilot[field] ~= nil, field)
    end
  end)

  it("declare every option of a client, of `http` and of a fleet", function()
    assert_declared("autopilot.ClientOptions", names_in(rows_of("doc/client.md", "## Options"), 1))
    local http = {}
    for name in pairs(require("autopilot.transport.curl").rules) do
      http[#http + 1] = name
    end
    assert_declared("autopilot.HttpOptions", http)
    assert_declared("autopilot.FleetOptions", names_in(rows_of("doc/fleet.md", "## Options"), 1))
  end)

  it("declare the methods of a client, and every option of each", function()
    local count = 0
    for _, row in ipairs(rows_of("doc/client.md", "## Methods")) do
      local method, options = row[1]:match "^`client:(%w+)%s*(.*)`$"
      assert_declared("autopilot.Client", { method })
      local names = {}
      for name in options:gmatch "([%w_]+)=" do
        names[#names + 1] = name
      end
      if names[1] then
        count = count + 1
        assert_declared("autopilot." .. method:gsub("^%l", string.upper) .. "Options", names)
      end
    end
    assert.equal(5, count)
  end)

  it("declare every field of a report, of a status and of an examination", function()
    assert_declared("autopilot.Report", names_in(rows_of("doc/client.md", "## The report"), 1))
    for _, row in ipairs(rows_of("doc/client.md", "## Methods")) do
      if row[1]:find "client:status" then
        assert_declared("autopilot.StatusReport", names_in({ row }, 2))
      end
    end
    assert_declared("autopilot.DoctorReport", { "checks", "requests", "ok", "hint" })
    local of_a_dry_run = source_tree.read("doc/command.md"):match "the report has%s(`dry_run`.-)%."
    assert_declared("autopilot.cli.DryRunReport", names_in({ { of_a_dry_run } }, 1))
  end)

  it("declare every event and its fields", function()
    local rows = rows_of("doc/client.md", "## Events")
    local types = source_tree.read "lua/autopilot/types/client.lua"
    local names = names_in(rows, 1)
    table.remove(names, 1) -- the heading of the table
    local of_fleets = source_tree.read("doc/client.md"):match "\nA fleet has (.-)%("
    for name in of_fleets:gmatch "`([%w_]+)`" do
      names[#names + 1] = name
    end
    for _, name in ipairs(names) do
      assert.truthy(types:find(('\n---| "%s"'):format(name), 1, true), name)
    end
    assert_declared("autopilot.Event", names_in(rows, 3))
  end)

  it("declare the ways to sign in, the stores and the retry helpers", function()
    local ways = rows_of("doc/sign-in.md", "## The ways")
    table.remove(ways, 1) -- the heading of the table
    assert_declared("autopilot.token", names_in(ways, 1))
    local stores, helpers = {}, {}
    for name in source_tree.read("doc/stores.md"):gmatch 'autopilot%.store%.(%w[%w_]*)[ "({]' do
      stores[#stores + 1] = name
    end
    assert_declared("autopilot.store", stores)
    for name in source_tree.read("doc/retry.md"):gmatch "retry%.(%w[%w_]*)[ ({]" do
      helpers[#helpers + 1] = name
    end
    assert_declared("autopilot.retry", helpers)
  end)

  it("declare all of the C module, and nothing else", function()
    local core, declared = require "autopilot.core", classes["autopilot.core"].fields
    for name in pairs(core) do
      assert.truthy(declared[name], name)
    end
    local known = { transfer_thread = true } -- missing on Windows
    for name in pairs(declared) do
      assert.truthy(core[name] or known[name], name)
    end
    local types = source_tree.read "lua/autopilot/types/core.lua"
    for _, path in ipairs(source_tree.files("src", "c")) do
      local functions = source_tree.read(path):match "luaL_Reg.*" or ""
      for name in functions:gmatch '{"(%l[%l%d_]+)", [%w_]+}' do
        assert.truthy(types:find("%f[%w_]" .. name .. ":? fun%("), path .. ": " .. name)
      end
    end
  end)

  it(
    "name no class twice, no class that is not declared, and one member of an alias a line",
    function()
      local wrong = {}
      for name, class in pairs(classes) do
        local count = 0
        for _, path in ipairs(class.places) do
          count = count + (path:find "^lua/autopilot/types/" and 0 or 1)
        end
        wrong[#wrong + 1] = count > 1 and name .. " is declared twice" or nil
      end
      for _, path in ipairs(paths) do
        for line in source_tree.read(path):gmatch "\n(%-%-%-@%l+ [^\n]*)" do
          for name in line:gsub("`[^`]*`", ""):gmatch "%f[%w_.]autopilot%.[%w_.]*[%w_]" do
            wrong[#wrong + 1] = not (classes[name] or aliases[name]) and path .. ": " .. name or nil
          end
        end
        for line in source_tree.read(path):gmatch '\n(%-%-%-| "[^\n]*)' do
          wrong[#wrong + 1] = line:find '" |' and path .. ": " .. line or nil
        end
      end
      assert.same({}, wrong)
    end
  )

  it("are in files that compile, and are never loaded", function()
    for _, path in ipairs(source_tree.files("lua/autopilot/types", "lua")) do
      assert(loadfile(path))
      assert.matches("^%-%-%-@meta", source_tree.read(path))
    end
    for _, path in ipairs(paths) do
      assert.is_nil(source_tree.read(path):find('"autopilot.types', 1, true), path)
    end
  end)

  it("are found by an editor in this tree", function()
    local settings = cjson.decode((source_tree.read ".luarc.json"))
    for _, pattern in ipairs(settings["runtime.path"]) do
      local exists = pattern:find "^spec/"
        or files.read(
          (pattern:gsub("%?", pattern:find "init" and "autopilot" or "autopilot/version"))
        )
      assert.truthy(exists, pattern)
    end
  end)
end)

-- A script, and what is to be found in its lines.
local script = [[
local autopilot = require "autopilot"
local client = autopilot.client { tokn = "x", on_event = function(event) print(event.typ) end }
local report = client:sync { deadlin = 5 }
print(report and report.outcom)
client:sink()
autopilot.client { token = "x", tenant = "t", http = { ca_fil = "x" } }
autopilot.tokn.static "x"
print(require("autopilot.core").clck())
autopilot.client({ token = "x", cooldown = 60 }):ensure { since = 1, wait = false }
autopilot.client { token = "x", transport = autopilot.transport.scripted { { status = 204 } } }
]]
local mistakes = { 2, 2, 2, 3, 4, 5, 6, 7, 8 }

describe("lua-language-server", function()
  it("finds the mistakes of a script, and none in a correct one", function()
    local program = shell.read("command -v lua-language-server"):match "[^\n]+"
    if not program then
      pending "lua-language-server is not installed"
      return
    end
    local folder, remove = files.folder()
    local here = shell.read("pwd"):match "[^\n]+"
    files.write(folder .. "/script.lua", script)
    files.write(
      folder .. "/.luarc.json",
      cjson.encode { ["workspace.library"] = { here .. "/lua" } }
    )
    shell.read(
      [["$1" --check="$2" --checklevel=Warning --logpath="$2/log" --check_out_path="$2/out.json"]],
      program,
      folder
    )
    local lines = {}
    for _, found in pairs(cjson.decode(files.read(folder .. "/out.json"))) do
      for _, problem in ipairs(found) do
        lines[#lines + 1] = problem.range.start.line + 1
      end
    end
    remove()
    table.sort(lines)
    assert.same(mistakes, lines)
  end)
end)
