--- Runs programs with functions of the system's libraries replaced.

local emulated_service = require "support.emulated_service"
local files = require "support.files"
local hostile = require "support.hostile_server"
local shell = require "autopilot.cli.emulate.shell"

local preloaded = {}

-- `of_libcurl("curl_…")` finds a function of the libcurl that is loaded.
local prologue = [[
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

static inline void *of_libcurl(const char *name) {
    static const char *const files[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.so"};
    void *libcurl = NULL;
    for (int i = 0; i < 3 && libcurl == NULL; i++) {
        libcurl = dlopen(files[i], RTLD_LAZY | RTLD_NOLOAD);
    }
    return dlsym(libcurl, name);
}
]]

local build = [[
cd "$1" && cat >preloaded.c && cc -shared -fPIC -w -o preloaded.so preloaded.c -ldl
]]

--- Compiles functions that take the place of others of the same names, in a private folder.
---@param source string in C, after `prologue`
---@return string folder to be removed
---@return string library what LD_PRELOAD is to name
function preloaded.build(source)
  local folder = shell.read "mktemp -d":match "^[^\n]+"
  local compiler = io.popen(shell.command(build, folder), "w")
  compiler:write(prologue, source)
  compiler:close()
  local library = folder .. "/preloaded.so"
  assert(shell.read('[ -f "$1" ] && echo yes', library) ~= "", "no compiler")
  return folder, library
end

--- Removes a folder that `build` has made.
---@param folder string
function preloaded.remove(folder)
  shell.read('rm -r "$1"', folder)
end

--- Runs a Lua program, and the hostile servers meanwhile.
---@param environment table<string, string>
---@param program string
---@param ... string|number its arguments
---@return string output
function preloaded.run(environment, program, ...)
  local output, remove_output = files.temporary ""
  local script, remove_script = files.temporary(program)
  local words = { "env" }
  local before = os.getenv "LD_PRELOAD" -- the sanitizers, which must be loaded first
  for name, value in pairs(environment) do
    if name == "LD_PRELOAD" and before then
      value = before .. " " .. value
    end
    words[#words + 1] = shell.quote(name .. "=" .. value)
  end
  for _, word in ipairs { emulated_service.interpreter(), script, ... } do
    words[#words + 1] = shell.quote(tostring(word))
  end
  os.execute(("(%s; echo ended) >%s 2>&1 &"):format(table.concat(words, " "), output))
  hostile.until_true(function()
    return files.read(output):find "ended\n$"
  end)
  local text = files.read(output):gsub("ended\n$", "")
  remove_output()
  remove_script()
  return text
end

return preloaded
