--- The scopes of a token request: the resource that they name, and what a person's token answer lists.

local scopes = {}

-- Scopes of OpenID Connect, which belong to no resource.
local openid = { openid = true, profile = true, email = true, offline_access = true }

--- The resource of one scope; nil when the scope is wrong. A person may ask for a single permission instead of
-- `/.default`: by default one of Graph's.
local function resource_of(word, is_for_person)
  local resource = word:match "^(.+)/%.default$"
  if resource then
    -- A URI such as `https://…` or `api://…`, or a GUID.
    return resource:match "^%a[%w+.-]*://%S+$" or resource:match "^%x+%-%x+%-%x+%-%x+%-%x+$"
  elseif is_for_person and not word:find("/", 1, true) then
    return "https://graph.microsoft.com"
  end
  return is_for_person and word:match "^(%a[%w+.-]*://.+)/[^/]+$" or nil
end

---@class autopilot.emulator.Scopes
---@field resource string the audience of the token
---@field words string[] as they were asked for
---@field has table<string, boolean> the same as a set

--- Reads scopes; nil when they name no resource, or several.
---@param text string scopes between spaces
---@param is_for_person boolean permissions and the scopes of OpenID Connect are allowed
---@return autopilot.emulator.Scopes?
function scopes.read(text, is_for_person)
  local read = { words = {}, has = {} }
  for word in text:gmatch "%S+" do
    table.insert(read.words, word)
    read.has[word] = true
    if not (is_for_person and openid[word]) then
      local resource = resource_of(word, is_for_person)
      if not resource or resource ~= (read.resource or resource) then
        return nil
      end
      read.resource = resource
    end
  end
  return read.resource and read or nil
end

--- The scopes of a person's token, as Entra lists them: permissions first, then what was asked for, without
-- `offline_access`.
function scopes.granted(asked, permissions)
  local words, known = {}, { offline_access = true }
  local function add(word)
    if not known[word] then
      known[word] = true
      table.insert(words, word)
    end
  end
  for _, permission in ipairs(permissions) do
    add(asked.resource .. "/" .. permission)
  end
  for _, word in ipairs(asked.words) do
    add(word)
  end
  return table.concat(words, " ")
end

return scopes
