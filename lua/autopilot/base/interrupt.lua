--- Whether an error is the one that the stand-alone interpreters raise on Ctrl-C (`lstop` in lua.c): the
-- word "interrupted!", alone or behind a line number. It is not a failure of the function that was running.
return function(raised)
  return type(raised) == "string"
    and (raised == "interrupted!" or raised:find ":%d+: interrupted!$" ~= nil)
end
