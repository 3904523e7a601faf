--- Command lines for Windows' shell, `cmd.exe`, to which `io.popen` passes them.

local core = require "autopilot.core"

local windows_command = {}

-- Beside `az.cmd` there is an `az` without an ending, for Unix shells.
local endings = { ".cmd", ".exe", "" }

--- The file of a program: of the folders in `path`, the value of PATH, for a name without a folder. The shell would
-- look into the current folder first, where another user may have put a program of that name.
---@param program string
---@param path string?
---@return string? file nil when there is none, or when its name means something in quotes
function windows_command.find(program, path)
  local folders = program:find "[\\/:]" and ";" or path or ""
  for folder in (folders .. ";"):gmatch '"?([^;"]*)"?;' do
    local is_whole = folder:find "^%a:[\\/]" or folder:find "^\\\\"
    for _, ending in ipairs((is_whole or folders == ";") and endings or {}) do
      local file = (is_whole and folder .. "\\" or "") .. program .. ending
      if not file:find '["%%!]' and core.file_kind(file, true) == "file" then
        return file
      end
    end
  end
end

--- Quotes a word for the shell; it may have no quotes, percent signs and exclamation marks.
function windows_command.word(text)
  return '"' .. text .. '"'
end

--- A command line without input, whose errors go where its output goes. The shell removes the outer quotes.
---@param file string from `find`
---@param arguments string
function windows_command.line(file, arguments)
  return windows_command.word(windows_command.word(file) .. " " .. arguments .. " <nul 2>&1")
end

return windows_command
