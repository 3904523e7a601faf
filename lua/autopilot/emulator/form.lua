--- Forms and queries: `name=value&…`, as browsers encode them.

local form = {}

local function decoded(text)
  local spaced = text:gsub("+", " ")
  local plain = spaced:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end)
  return plain
end

--- The fields of a form; of a repeated one the last.
---@param text string?
---@return table<string, string>
function form.read(text)
  local fields = {}
  for field in (text or ""):gmatch "[^&]+" do
    local name, value = field:match "^([^=]*)=(.*)$"
    if name then
      fields[decoded(name)] = decoded(value)
    end
  end
  return fields
end

return form
