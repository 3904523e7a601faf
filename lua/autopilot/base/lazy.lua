--- Loads a module that few calls need when it is first used:
--
--     local failure = lazy "autopilot.sync.failure"   -- at the top of a file
--     failure.settle(call)                            -- loads the module, then calls it
--
-- Written at the top of a file like `require`, so that a reader sees what the file needs. The module is a table whose
-- fields are read, or a function that is called.

---@return any module can be indexed and called, nothing else
local function lazy(name)
  local module
  local function load()
    module = module or require(name)
    return module
  end
  return setmetatable({}, {
    __index = function(_, field)
      return load()[field]
    end,
    __call = function(_, ...)
      return load()(...)
    end,
  })
end

return lazy
