--- The scopes of a token request: the resource that they name, and what a person's token answer lists.

local scopes = {}

local graph = "https://graph.microsoft.com"

-- Scopes of OpenID Connect, which belong to no resource.
local openid = { openid = true, profile = true, email = true, offline_access = true }

--- Whether a text can stand before `/.default`: a URI such as `https://…` or `api://…`, or a GUID.
local function is_resource(text)
  return text:match "^%a[%w+.-]*://%S+$" ~= nil or text:match "^%x+%-%x+%-%x+%-%x+%-%x+$" ~= nil
end

--- The resource of one scope. A person may also ask for a single permission, by default one of Graph's.
local function resource_of_word(word, is_for_person)
  local resource = word:match "^(.+)/%.default$"
  if resource then
    return is_resource(resource) and resource or nil
  elseif not is_for_person then
    return nil
  elseif not word:find("/", 1, true) then
    return graph
  end
  return word:match "^(%a[%w+.-]*://.+)/[^/]+$"
end

--- The resource of all scopes, which is the token's audience; nil when they name none or several.
---@param text string scopes between spaces
---@param is_for_person boolean permissions and the scopes of OpenID Connect are allowed
---@return string?
function scopes.resource(text, is_for_person)
  local resource
  for word in text:gmatch "%S+" do
    if not (is_for_person and openid[word]) then
      local found = resource_of_word(word, is_for_person)
      if not found or (resource and found ~= resource) then
        return nil
      end
      resource = found
    end
  end
  return resource
end

--- Whether a scope is one of those that were asked for.
---@param text string
---@param wanted string
---@return boolean
function scopes.has(text, wanted)
  return (" " .. text:gsub("%s+", " ") .. " "):find(" " .. wanted .. " ", 1, true) ~= nil
end

--- The scopes of a person's token, as Entra lists them: permissions first, then what was asked for.
-- Refresh tokens are not listed.
---@param text string the scopes that were asked for
---@param permissions string[]
---@return string
function scopes.granted(text, permissions)
  local resource, words, known = scopes.resource(text, true), {}, { offline_access = true }
  local function add(word)
    if not known[word] then
      known[word] = true
      words[#words + 1] = word
    end
  end
  for _, permission in ipairs(permissions) do
    add(resource .. "/" .. permission)
  end
  for word in text:gmatch "%S+" do
    add(word)
  end
  return table.concat(words, " ")
end

return scopes
