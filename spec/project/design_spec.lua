-- doc/design.md is correct: the files that it lists for three operations are those that calls use, in
-- that order, and every file that it names exists.
--
-- After files were moved or calls changed, the failure prints the lists as they are now: copy the names into the
-- page and say what each does.

local command_process = require "support.command_process"
local lfs = require "lfs"
local source_tree = require "support.source_tree"

local page = "doc/design.md"

-- The headings of the page below which a walk is listed.
local headings = {
  sync = "The way of a `sync`",
  ensure = "The way of a status record through `ensure`",
  fleet = "The way of a tenant through a fleet",
}

-- Plain Lua 5.1 does not read modules ahead, but loads them when a client is made: there these are not compared.
local is_plain_5_1 = _VERSION == "Lua 5.1" and not rawget(_G, "jit")
local left_out = is_plain_5_1 and { ["base/read_ahead.lua"] = true, ["base/lazy.lua"] = true } or {}

--- The Lua files in the numbered list below a heading, in their order.
local function listed_files(heading)
  local text = "\n" .. source_tree.read(page)
  local _, start = text:find("\n## " .. heading .. "\n", 1, true)
  assert(start, page .. " has no heading '" .. heading .. "'")
  local section = text:sub(start, (text:find("\n## ", start, true)))
  local files, is_list = {}, false
  for line in section:gmatch "([^\n]*)\n" do
    is_list = line:find "^%d+%. " ~= nil or (is_list and line:find "^   %S" ~= nil)
    for name in (is_list and line or ""):gmatch "`([%w_/]+%.lua)`" do
      files[#files + 1] = not left_out[name] and name or nil
    end
  end
  return files
end

--- Records the modules of each walk in a separate process, so that nothing of this one counts.
local function recorded_walks()
  local pipe =
    command_process.start(command_process.interpreter .. " spec/support/walks.lua 2>&1", {})
  local output = pipe:read "*a"
  pipe:close()
  local walks, current = {}, nil
  for line in output:gmatch "[^\n]+" do
    local name = line:match "^(.-): %d+ files, "
    if name then
      current = {}
      walks[name] = current
    elseif current then
      local file = line:match "^  (%S+)$"
      current[#current + 1] = not left_out[file] and file or nil
    end
  end
  assert(walks.fleet, "the walks could not be recorded:\n" .. output)
  return walks
end

local function lacking(files, from)
  local has, found = {}, {}
  for _, name in ipairs(from) do
    has[name] = true
  end
  for _, name in ipairs(files) do
    found[#found + 1] = not has[name] and name or nil
  end
  return #found > 0 and table.concat(found, ", ") or "none"
end

describe("doc/design.md", function()
  it("lists the files that a sync, an ensure and a fleet use, in their order", function()
    local walks, problems = recorded_walks(), {}
    for name, heading in pairs(headings) do
      local listed = listed_files(heading)
      if table.concat(listed, "\n") ~= table.concat(walks[name], "\n") then
        problems[#problems + 1] = table.concat({
          ("'%s' in %s is out of date."):format(heading, page),
          "Not in the page: " .. lacking(walks[name], listed),
          "Only in the page: " .. lacking(listed, walks[name]),
          "The files in their order now:",
          "`" .. table.concat(walks[name], "`, `") .. "`",
        }, "\n")
      end
    end
    assert(#problems == 0, table.concat(problems, "\n\n"))
  end)

  it("names files that exist", function()
    local text, missing = source_tree.read(page), {}
    for name in text:gmatch "`([%w_/]+%.%l+)`" do
      local is_c = name:find "%.[ch]$"
      local path = is_c and "src/" .. name or "lua/autopilot/" .. name
      if not lfs.attributes(path) and not lfs.attributes(name) then
        missing[#missing + 1] = name
      end
    end
    assert.same({}, missing)
  end)
end)
