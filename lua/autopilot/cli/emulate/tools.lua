--- Finds what the emulated service runs on: nginx with its Lua module, and the openssl command.

local shell = require "autopilot.cli.emulate.shell"

local tools = {}

---@class autopilot.cli.EmulateTools
---@field nginx string path
---@field modules string[] paths of modules to load, in order; none when Lua is built in
---@field built_without table<string, boolean> names of nginx modules left out of this build
---@field http2_directive boolean HTTP/2 is a directive of its own, no longer a word of `listen` (nginx 1.25.1)
---@field openssl string path
---@field lua_folder string absolute folder of the running Lua modules

-- Debian keeps nginx where the PATH of an ordinary user does not lead; OpenResty has a tree of its own.
local further_folders =
  "/usr/sbin:/usr/local/sbin:/usr/local/openresty/nginx/sbin:/usr/local/openresty/bin"

local probe = [[
PATH=$1
directory=$2
lua_folder=$3
for name in nginx openresty; do
  nginx=$(command -v "$name") || continue
  echo "nginx=$nginx"
  build=$("$nginx" -V 2>&1 </dev/null)
  for option in $build; do
    case $option in
      nginx/* | openresty/*) echo "version=${option#*/}" ;;
      --without-*) echo "without=${option#--without-}" ;;
    esac
  done
  case $build in
    *--add-module=*lua*)
      echo lua=yes
      break
      ;;
  esac
  folders=$(printf '%s\n' "$build" | sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p')
  for folder in ${folders:-/usr/lib/nginx/modules /usr/lib64/nginx/modules}; do
    if [ -f "$folder/ngx_http_lua_module.so" ]; then
      [ -f "$folder/ndk_http_module.so" ] && echo "module=$folder/ndk_http_module.so"
      echo "module=$folder/ngx_http_lua_module.so"
      echo lua=yes
      break 2
    fi
  done
done
openssl=$(command -v openssl) && echo "openssl=$openssl"
[ -d "$directory" ] && [ -w "$directory" ] && echo directory="$(cd "$directory" && pwd)"
cd "$lua_folder" && echo "lua_folder=$(pwd)"
]]

--- The folder that `require` found this module in, as it was written in the path.
local function folder_of_modules()
  local source = debug.getinfo(1, "S").source
  return source:match "^@(.*)autopilot/cli/emulate/tools%.lua$"
end

local function is_at_least(version, major, minor, patch)
  local a, b, c = (version or ""):match "^(%d+)%.(%d+)%.(%d+)"
  if not a then
    return false
  end
  a, b, c = tonumber(a), tonumber(b), tonumber(c)
  return a > major or a == major and (b > minor or b == minor and c >= patch)
end

--- Finds everything, or says in one sentence what is missing and which Debian package has it.
---@param directory string the folder in which a temporary one is to be made
---@param search_path string? where to look instead of in PATH
---@return (autopilot.cli.EmulateTools | { directory: string })?
---@return string? message
function tools.find(directory, search_path)
  local folder = folder_of_modules()
  if not folder then
    return nil, "the emulated service needs autopilot's Lua modules as files"
  end
  local path = search_path or (os.getenv "PATH" or "") .. ":" .. further_folders
  local found = { modules = {}, built_without = {} }
  local output = shell.read(probe, path, directory, folder == "" and "." or folder)
  for name, value in output:gmatch "([%w_]+)=([^\n]*)\n" do
    if name == "module" then
      table.insert(found.modules, value)
    elseif name == "without" then
      found.built_without[value] = true
    else
      found[name] = value
    end
  end
  if not found.nginx then
    return nil, "nginx was not found: install the Debian package nginx"
  elseif not found.lua then
    return nil, "nginx has no Lua module: install the Debian package libnginx-mod-http-lua"
  elseif not found.openssl then
    return nil, "the openssl command was not found: install the Debian package openssl"
  elseif not found.directory then
    return nil, ("the folder %s does not exist or cannot be written to"):format(directory)
  end
  found.http2_directive = is_at_least(found.version, 1, 25, 1)
  return found
end

return tools
