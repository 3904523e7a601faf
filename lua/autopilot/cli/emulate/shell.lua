--- Text for the shell, and its answers.
--
-- A caller may run under a sanitizer or another preloaded library: its children must not.

local shell = {}

--- The text as one quoted word for the shell.
---@param text string
---@return string
function shell.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- The command line that runs a script with arguments and nothing preloaded.
-- The shell is replaced twice rather than kept waiting: no process with the library stays behind.
---@param script string
---@param ... string arguments: `$1`, `$2`, …
---@return string
function shell.command(script, ...)
  local words = { "unset LD_PRELOAD; exec sh -c", shell.quote(script), "autopilot-sync" }
  for _, argument in ipairs { ... } do
    words[#words + 1] = shell.quote(argument)
  end
  return table.concat(words, " ")
end

--- Runs a script to its end and reads what it prints.
---@param script string
---@param ... string arguments
---@return string output empty when the script could not be run
function shell.read(script, ...)
  local pipe = io.popen(shell.command(script, ...), "r")
  local output = pipe and pipe:read "*a" or ""
  if pipe then
    pipe:close()
  end
  return output
end

return shell
