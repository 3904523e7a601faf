--- Modules of the library that are not loaded, and files that can no longer be opened, for specs.

local unloaded = {}

local searchers = package.searchers or package.loaders -- luacheck: ignore 143

local function is_ours(module)
  return module:find "^autopilot" and module ~= "autopilot.core"
end

--- Takes the fields of our modules out of the table, and returns them.
local function take(from)
  local taken = {}
  for module, value in pairs(from) do
    if is_ours(module) then
      taken[module] = value
    end
  end
  for module in pairs(taken) do
    from[module] = nil
  end
  return taken
end

local function put_back(into, taken)
  take(into)
  for module, value in pairs(taken) do
    into[module] = value
  end
end

--- Calls `act` with none of our Lua modules loaded, and puts back those that were. `act` is given a
-- function after which no module is found in a file any more, and the list of those that were looked for.
---@param act fun(close_files: fun(), missed: string[])
function unloaded.run(act)
  local loaded, preloaded, open, missed = take(package.loaded), take(package.preload), {}, {}
  local function close_files()
    for index = 2, #searchers do
      open[index] = open[index] or searchers[index]
      searchers[index] = function(module)
        missed[#missed + 1] = module
        return "\n\tno file can be opened"
      end
    end
  end
  local done, message = pcall(act, close_files, missed)
  for index, searcher in pairs(open) do
    searchers[index] = searcher
  end
  put_back(package.loaded, loaded)
  put_back(package.preload, preloaded)
  assert(done, message)
end

return unloaded
