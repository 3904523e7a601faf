--- Reads modules that may be needed later, without compiling them.
--
-- After a request has been sent there may be no file to load from: descriptors run out, and an upgrade
-- replaces files by those of another version. Most calls need none of these modules: reading them takes
-- a fifth of the time that loading takes.

local compile = loadstring or load -- luacheck: ignore 113 (Lua 5.1 needs the former for a text)

local already = {}

--- The text of a module and the file that it is in; nil when it is found in other ways than this.
local function find(name)
  local place = name:gsub("%.", "/")
  for template in package.path:gmatch "[^;]+" do
    local path = template:gsub("%?", place)
    local file = io.open(path, "rb")
    if file then
      local text = file:read "*a"
      file:close()
      return text, path
    end
  end
end

--- The names of the modules that a text requires. A search for plain text is by far the fastest.
local function required_in(text)
  local names = {}
  local _, last = text:find("require", 1, true)
  while last do
    names[#names + 1] = text:match('^[ (]+"([%w_.]+[%w_])"', last + 1)
    _, last = text:find("require", last, true)
  end
  return names
end

--- Reads the modules of these names, and those that their texts require in turn. Raises what `require`
-- would raise for a module that is not there.
---@param names string[]
local function read_ahead(names)
  for _, name in ipairs(names) do
    if not already[name] and not package.loaded[name] and not package.preload[name] then
      already[name] = true
      local text, path = find(name)
      if not text or name:sub(1, 10) ~= "autopilot." then
        require(name)
      else
        package.preload[name] = function(...)
          return assert(compile(text, "@" .. path))(...)
        end
        read_ahead(required_in(text))
      end
    end
  end
end

return read_ahead
