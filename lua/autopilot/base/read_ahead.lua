--- Reads the texts of modules that may be needed later, without compiling them.
--
-- After a request has been sent, a module's file may be out of reach: no descriptor is free, or an upgrade
-- has replaced the files. Most calls need none of these modules, and reading a text takes a fifth of the
-- time that loading the module takes.

local compile = loadstring or load -- luacheck: ignore 113 (Lua 5.1 compiles a text with the former)

local already_read = {}

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

--- Adds the modules that a text names behind a word, `require` or `lazy`. Searching for the plain word first
-- is much faster than a pattern.
local function add_names(names, text, word)
  local _, last = text:find(word, 1, true)
  while last do
    names[#names + 1] = text:match('^[ (]+"([%w_.]+[%w_])"', last + 1)
    _, last = text:find(word, last, true)
  end
end

--- Reads the modules of these names, and the modules that their texts name in turn. A module from outside
-- this library is loaded at once. Raises what `require` raises for a module that does not exist.
---@param names string[]
local function read_ahead(names)
  for _, name in ipairs(names) do
    if not already_read[name] and not package.loaded[name] and not package.preload[name] then
      already_read[name] = true
      local text, path = read_module(name)
      if not text or name:sub(1, 10) ~= "autopilot." then
        require(name)
      else
        package.preload[name] = function(...)
          return assert(compile(text, "@" .. path))(...)
        end
        local inner = {}
        add_names(inner, text, "require")
        add_names(inner, text, "lazy")
        read_ahead(inner)
      end
    end
  end
end

return read_ahead
