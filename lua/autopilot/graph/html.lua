--- Finds what a page of HTML says in a few words: the answer of a gateway or a captive portal.
--
-- Not a parser: a title, a heading or some plain text is searched for. The work is linear in the length.

local entities = require "autopilot.base.entities"

local html = {}

local function without_markup(text)
  -- The class excludes `<`, so that a text of nothing but `<` is read once.
  return entities.decode((text:gsub("<[^<>]*>", " ")))
end

--- The text of the first element with a name; nil when there is none, or it is empty.
local function element(page, lower, name)
  local _, opening = lower:find("<" .. name .. "%f[%s>][^<>]*>")
  if not opening then
    return nil
  end
  local finish = lower:find("</" .. name, opening, true)
  local text = without_markup(page:sub(opening + 1, (finish or #page + 1) - 1))
  return text:find "%S" and text or nil
end

--- The text of the body up to the first script or style sheet.
local function body_text(page, lower)
  local start = lower:find("<body", 1, true) or 1
  local finish = lower:find("<script", start, true) or lower:find("<style", start, true)
  local text = without_markup(page:sub(start, (finish or #page + 1) - 1))
  return text:find "%w" and text or nil
end

--- Whether a text begins as HTML or XML does.
---@param text string
---@return boolean
function html.begins(text)
  return text:find "^%s*<[!?%a]" ~= nil
end

--- The title, else the first heading, else the beginning of the text.
---@param page string
---@return string? text nil when there is none of these
function html.text(page)
  local lower = page:lower()
  for _, name in ipairs { "title", "h1", "h2", "h3" } do
    local text = element(page, lower, name)
    if text then
      return text
    end
  end
  return body_text(page, lower)
end

return html
