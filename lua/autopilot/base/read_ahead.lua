--- Reads the texts of modules that may be needed later, without compiling them.
--
-- After a request has been sent, a module's file may be out of reach: no descriptor is free, or an upgrade
-- has replaced the files. Most calls need none of these modules, and reading a text takes a tenth of the
-- time that loading the module takes.

local compile = loadstring or load -- luacheck: ignore 113 (Lua 5.1 compiles a text with the former)

--- The text of a module's file, and the file's path. Nil when `package.path` does not lead to one.
local function read_module(name)
  local relative = name:gsub("%.", "/")
  for template in package.path:gmatch "[^;]+" do
    local path = template:gsub("%?", relative)
    local file = io.open(path, "rb")
    if file then
      local text = file:read "*a"
      file:close()
      return text, path
    end
  end
end

--- Reads the modules of these names; `require` then takes what was read. Raises what `require` raises for a
-- module that does not exist.
---@param names string[]
return function(names)
  for _, name in ipairs(names) do
    if not package.loaded[name] and not package.preload[name] then
      local text, path = read_module(name)
      if not text then
        require(name)
      end
      package.preload[name] = function(...)
        return assert(compile(text, "@" .. path))(...)
      end
    end
  end
end
