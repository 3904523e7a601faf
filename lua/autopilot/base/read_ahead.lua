--- Reads the texts of modules that may be needed later, without compiling them.
--
-- After a request has been sent, a module's file may be out of reach: no descriptor is free, or an upgrade
-- has replaced the files. Most calls need none of these modules, and reading a text takes a tenth of the
-- time that loading the module takes.

local compile = loadstring or load -- luacheck: ignore 113 (Lua 5.1 compiles a text with the former)
local find_file = package.searchpath -- luacheck: ignore 143 (not in Lua 5.1)

-- Bytes that one call reads: more than any module has. A read of this size takes half the time of a read of `*a`.
local longest = 65536

--- The text of a module's file, and the file's path. Nil when there is no file, or it is empty or too long; nor in
-- Lua 5.1, which cannot tell where a module's file is.
local function read_module(name)
  local path = find_file and find_file(name, package.path)
  local file = path and io.open(path, "rb")
  if file then
    local text = file:read(longest)
    file:close()
    return text and #text < longest and text or nil, path
  end
end

--- Reads modules of this library, for a later `require`; loads those whose texts cannot be read. Raises what `require`
-- raises for a module that does not exist.
---@param names string without `autopilot.`, with blanks between them
return function(names)
  for short in names:gmatch "%S+" do
    local name = "autopilot." .. short
    if not package.loaded[name] and not package.preload[name] then
      local text, path = read_module(name)
      if text then
        package.preload[name] = function(...)
          return assert(compile(text, "@" .. path))(...)
        end
      else
        require(name)
      end
    end
  end
end
