--- The passwords in the address of a database, or in settings of libpq (`host=… password=…`).

local percent_decoded = require("autopilot.base.url").percent_decoded

local passwords = {}

--- The value at the beginning of a text of settings: in quotes, or up to a blank. A backslash escapes the
-- character behind it.
local function setting(text)
  local plain = text:gsub("\\(.)", function(character)
    return ("\\%03d"):format(character:byte())
  end)
  local value = plain:match "^'([^']*)" or plain:match "^%S*"
  return (value:gsub("\\(%d%d%d)", function(digits)
    return string.char(tonumber(digits))
  end))
end

--- Finds all passwords in a text. The list also has decoded forms and pieces of them: a message may quote these.
---@return string[] found empty if there is no password
function passwords.find(text)
  local found = {}
  local function add(password)
    if password ~= "" then
      found[#found + 1] = password
      found[#found + 1] = password:find "%%%x%x" and percent_decoded(password) or nil
    end
  end
  -- Up to the last `@`, because `@` in passwords is often not encoded. Libraries then take pieces of it for the
  -- host, the port or the name of the database.
  local behind_user = text:match "^%a+://.-:(.*)@"
  if behind_user then
    add(behind_user)
    for piece in behind_user:gmatch "[^/@?:]+" do
      add(piece ~= behind_user and piece or "")
    end
  end
  -- `sslpassword` is found, too.
  for position in text:gmatch "password%s*=%s*()" do
    local rest = text:sub(position)
    add(text:find "^%a+://" and rest:match "^[^&]*" or setting(rest))
  end
  return found
end

return passwords
