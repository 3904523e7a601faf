--- The pages of the documentation, for specs: the README and doc/*.md.

local source_tree = require "support.source_tree"

local pages = {}

--- Their paths from the root.
---@return string[]
function pages.paths()
  local paths = source_tree.files("doc", "md")
  table.insert(paths, 1, "README.md")
  return paths
end

--- The blocks between three backticks, in their order.
---@param text string
---@return { language: string, code: string }[]
function pages.blocks(text)
  local blocks = {}
  for language, code in ("\n" .. text):gmatch "\n```([^\n]*)\n(.-)\n```%f[\n%z]" do
    blocks[#blocks + 1] = { language = language, code = code .. "\n" }
  end
  return blocks
end

return pages
