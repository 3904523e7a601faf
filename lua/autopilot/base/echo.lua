--- A quick check for texts that may repeat a secret. Most texts do not; `redact` examines the others.

local echo = {}

-- Characters in a row that count as a part of a secret.
echo.shortest_part = 16

-- Every part that a text repeats contains one of these blocks: every `step` characters, one of `block`
-- characters is compared with the secret.
echo.block = 5
echo.step = echo.shortest_part - echo.block + 1

local longest_quick_look, longest_password = 1000, 256

-- Any character but visible ASCII without % & + < and \, which may belong to an encoding.
local unusual = "[^,-;^-~ -$'-*=-[%]]"

local signs_of_encodings = { "\\", "%", "&", "+", " " }

--- Whether a part of a secret may stand in a text without blanks. Also true for a secret that looks different
-- without encodings and invisible characters; what is longer than a password is a token or key, without the latter.
local function may_repeat(text, secret)
  for _, sign in ipairs(signs_of_encodings) do
    if secret:find(sign, 1, true) then
      return true
    end
  end
  if #secret <= longest_password and secret:find "[^!-~]" then
    return true
  elseif #secret < echo.shortest_part then
    return text:find(secret, 1, true) ~= nil
  end
  for finish = echo.shortest_part, #text, echo.step do
    if secret:find(text:sub(finish - echo.block + 1, finish), 1, true) then
      return true
    end
  end
  return false
end

--- Whether a text needs a closer look. Few do. False is certain: the text is short, is visible ASCII without
-- encodings, and repeats no part of a secret, with or without blanks in it.
---@param text string
---@param secrets table values other than strings, and empty strings, are ignored
---@return boolean
function echo.is_possible(text, secrets)
  if
    #text > longest_quick_look
    or text:find(unusual)
    or text:find("eyJ", 1, true)
    or text:find("earer", 1, true)
  then
    return true
  end
  local visible = text:find(" ", 1, true) and text:gsub(" ", "") or text
  for _, secret in pairs(secrets) do
    if type(secret) == "string" and secret ~= "" and may_repeat(visible, secret) then
      return true
    end
  end
  return false
end

return echo
