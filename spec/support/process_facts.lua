--- What Linux shows about a process.

local shell = require "autopilot.cli.emulate.shell"

local process_facts = {}

--- How many descriptors a process has open.
---@param id integer
function process_facts.descriptors(id)
  return tonumber(shell.read('ls "/proc/$1/fd" | wc -l', tostring(id)))
end

--- How often the threads of a process have gone to sleep.
---@param id integer
function process_facts.sleeps(id)
  local script = [[awk '/^voluntary/ { sum += $2 } END { print sum }' "/proc/$1/task/"*/status]]
  return tonumber(shell.read(script, tostring(id)))
end

--- The seconds that a process has run on a processor.
---@param id integer
function process_facts.processor_time(id)
  return tonumber(shell.read('cat "/proc/$1/schedstat"', tostring(id)):match "%d+") / 1e9
end

--- The resident memory of a process, in MB.
---@param id integer
function process_facts.resident(id)
  local kilobytes = shell.read('grep ^VmRSS: "/proc/$1/status"', tostring(id)):match "%d+"
  return tonumber(kilobytes) / 1024
end

return process_facts
