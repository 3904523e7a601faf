--- Makes one new table of the fields of several; a later table replaces fields of an earlier one.
---@param ... table|nil
return function(...)
  local merged = {}
  for index = 1, select("#", ...) do
    for name, value in pairs((select(index, ...)) or {}) do
      merged[name] = value
    end
  end
  return merged
end
