--- Lays what a test gives over what it would have otherwise.

---@param defaults table takes the fields
---@param given table? nil: none
---@return table defaults
return function(defaults, given)
  for name, value in pairs(given or {}) do
    defaults[name] = value
  end
  return defaults
end
