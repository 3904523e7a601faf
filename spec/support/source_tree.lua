--- Reads this repository's own files, for the specs that check its structure.
-- The specs run from its root.

local files = require "support.files"
local lfs = require "lfs"

local source_tree = {}

--- The whole text of a file; raises when there is none.
---@param path string
---@return string
function source_tree.read(path)
  return assert(files.read(path), "there is no " .. path)
end

--- The files below a folder whose names end in `.extension`, as sorted paths from the root.
---@param folder string
---@param ... string the extensions
---@return string[]
function source_tree.files(folder, ...)
  local extensions, found = { ... }, {}
  local function walk(path)
    for name in lfs.dir(path) do
      local child = path .. "/" .. name
      local mode = name:sub(1, 1) ~= "." and lfs.attributes(child, "mode")
      if mode == "directory" then
        walk(child)
      elseif mode then
        for _, extension in ipairs(extensions) do
          if name:match "%.(%w+)$" == extension then
            found[#found + 1] = child
          end
        end
      end
    end
  end
  walk(folder)
  table.sort(found)
  return found
end

--- The module that a file below lua/ is: `lua/autopilot/init.lua` is `autopilot`.
---@param path string
---@return string
function source_tree.module_name(path)
  local name = path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/", ".")
  return (name:gsub("%.init$", ""))
end

--- The modules of this library that a text names behind `require` or `lazy`, also as
-- `require("autopilot.base.lazy") "autopilot.sync.wait"`.
---@param text string Lua without comments
---@return string[]
function source_tree.named_modules(text)
  local names = {}
  for call in ("require lazy"):gmatch "%a+" do
    for name in text:gmatch("%f[%w_]" .. call .. "[%s(,\"')]+[\"'](autopilot[%w_.]*)[\"']") do
      if not name:match "%.$" then -- `require("autopilot." .. name)` cannot be followed
        names[#names + 1] = name
      end
    end
  end
  return names
end

--- C without comments and without what stands in strings and character constants.
---@param text string
---@return string
function source_tree.bare_c(text)
  local kept, position = {}, 1
  while true do
    local start = text:find("[/\"']", position)
    if not start then
      kept[#kept + 1] = text:sub(position)
      return table.concat(kept)
    end
    kept[#kept + 1] = text:sub(position, start - 1)
    local opening = text:sub(start, start + 1)
    if opening == "/*" then
      local _, finish = text:find("*/", start + 2, true)
      position = (finish or #text) + 1
      kept[#kept + 1] = " "
    elseif opening == "//" then
      position = text:find("\n", start, true) or #text + 1
    elseif opening:sub(1, 1) == "/" then
      kept[#kept + 1] = "/"
      position = start + 1
    else
      local quote = opening:sub(1, 1)
      local finish = start + 1
      while finish <= #text and text:sub(finish, finish) ~= quote do
        finish = finish + (text:sub(finish, finish) == "\\" and 2 or 1)
      end
      kept[#kept + 1] = quote .. quote
      position = finish + 1
    end
  end
end

--- Lua without its comments. Good enough for sources in this house's style: `--` never stands in
--- a string that matters here.
---@param text string
---@return string
function source_tree.bare_lua(text)
  return (text:gsub("%-%-%[(=*)%[.-%]%1%]", ""):gsub("%-%-[^\n]*", ""))
end

return source_tree
