--- Whether this is what the stand-alone interpreters raise on Ctrl-C (`lstop` in lua.c): the word, alone
-- or behind the place where it came. It is no failure of the function that it happens to meet.
---@param raised any
---@return boolean
return function(raised)
  return type(raised) == "string"
    and (raised == "interrupted!" or raised:find ":%d+: interrupted!$" ~= nil)
end
