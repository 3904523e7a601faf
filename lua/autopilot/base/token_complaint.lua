--- What is wrong with a token, which is not quoted.

local core = require "autopilot.core"

---@param token any
---@return string? complaint what it must be; nil: it may be sent
return function(token)
  if type(token) ~= "string" then
    return ("must be a string (got %s)"):format(type(token))
  elseif token == "" then
    return "must not be empty"
  elseif token:find "^[Bb]earer%s" or not core.is_header_text(token) then
    return "must be without CR, LF, NUL and the word 'Bearer'"
  end
end
