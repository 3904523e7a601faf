--- Ends a command that was called wrongly: raises what is wrong, in one sentence, which `main` prints.
---@param sentence string
return function(sentence)
  error({ mistake = sentence }, 0)
end
