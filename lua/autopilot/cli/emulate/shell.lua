--- Runs scripts of the shell.
--
-- This process may run under a sanitizer or another preloaded library; its children must not.

local shell = {}

shell.quote = require("autopilot.token.provider").shell_word

--- The command line that runs a script with arguments (`$1`, `$2`, …) without preloaded libraries. `exec` replaces
-- a shell that has loaded them.
function shell.command(script, ...)
  local words = { "unset LD_PRELOAD; exec sh -c", shell.quote(script), "autopilot-sync" }
  for _, argument in ipairs { ... } do
    words[#words + 1] = shell.quote(argument)
  end
  return table.concat(words, " ")
end

--- Runs a script with arguments to its end. Returns what it prints; an empty text when it could not be run.
function shell.read(script, ...)
  local pipe = io.popen(shell.command(script, ...), "r")
  local output = pipe and pipe:read "*a" or ""
  if pipe then
    pipe:close()
  end
  return output
end

return shell
