--- Network namespaces for machines: the database and the service are in that of this process, and each machine
-- reaches their loopback address through a link that can be taken down.

local await = require "support.await"
local files = require "support.files"
local shell = require "autopilot.cli.emulate.shell"

local network = {}

--- The options of `unshare` with which this user may make network namespaces, or nil.
---@return string?
function network.namespace_options()
  local try = [[
    for options in "-n" "-c --keep-caps -n"; do
      unshare $options sh -c '
        ip link set lo up && ip link add one type veth peer name other &&
        echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet && nsenter -t $$ -n true' \
        >/dev/null 2>&1 && { printf '%s\n' "$options"; exit; }
    done]]
  return shell.read(try):match "^[^\n]+"
end

--- Makes the loopback address of this process's namespace reachable from others.
function network.prepare()
  shell.read "ip link set lo up; echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet"
end

--- A namespace with a link to this one.
---@param number integer of the machine
---@return { process: string, link: fun(state: "up"|"down"), remove: fun() }
function network.namespace(number)
  local path, remove = files.temporary ""
  local holder =
    assert(io.popen(("exec unshare -n sh -c 'echo $$ >%s; exec cat >/dev/null'"):format(path), "w"))
  local process = await("a namespace", function()
    return files.read(path):match "^(%d+)\n"
  end)
  remove()
  local made = shell.read(
    [[
    set -e
    ip link add "machine$1" type veth peer name uplink netns "$2"
    echo 1 >"/proc/sys/net/ipv4/conf/machine$1/route_localnet"
    ip addr add "10.9.$1.1/24" dev "machine$1"
    ip link set "machine$1" up
    nsenter -t "$2" -n sh -ec '
      echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
      ip addr add "10.9.$1.2/24" dev uplink
      ip link set uplink up
      ip route add 127.0.0.1/32 via "10.9.$1.1" dev uplink src "10.9.$1.2"' sh "$1"
    echo made]],
    tostring(number),
    process
  )
  assert(made == "made\n", "a namespace was not made")
  return {
    process = process,
    link = function(state)
      shell.read('ip link set "machine$1" "$2"', tostring(number), state)
    end,
    remove = function()
      holder:close()
    end,
  }
end

return network
