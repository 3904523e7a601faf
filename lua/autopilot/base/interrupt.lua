--- Whether an error is the one that the stand-alone interpreters raise on Ctrl-C (`lstop` in lua.c). It may
-- come in any function, and is not that function's failure.
---@param raised any
---@return boolean
return function(raised)
  return type(raised) == "string"
    and (raised == "interrupted!" or raised:find ":%d+: interrupted!$" ~= nil)
end
