--- Merges a test's values over the defaults.

---@param defaults table takes the fields
---@param given table? nil: none
---@return table defaults
return function(defaults, given)
  for name, value in pairs(given or {}) do
    defaults[name] = value
  end
  return defaults
end
