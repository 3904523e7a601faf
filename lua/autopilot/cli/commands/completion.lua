--- `autopilot-sync completion`: prints what makes a shell complete the command's words.

---@type autopilot.cli.Command
local completion = {
  name = "completion",
  summary = "Print a completion script for a shell.",
  description = "Prints a script with which a shell completes commands, options and their values. "
    .. "zsh: save it as _autopilot-sync in a folder of fpath. fish: save it as "
    .. "~/.config/fish/completions/autopilot-sync.fish.",
  example = "completion bash >/etc/bash_completion.d/autopilot-sync",
  options = "",
}

function completion.declare(parser)
  parser:argument("shell", "bash, zsh or fish."):choices { "bash", "zsh", "fish" }
end

function completion.run(given, context)
  local parser = context.parser()
  context.output:text(parser["get_" .. given.shell .. "_complete"](parser))
  return 0
end

return completion
