-- many_calls.lua BASE_URL TOKEN_FILE CA_FILE COUNT...: calls in one process; when so many have been
-- made, prints the count, the resident memory in KiB and how many descriptors are open.
local file = assert(io.open(arg[2]))
local token = file:read "*l"
file:close()
local client = require("autopilot").client {
  token = token,
  base_url = arg[1],
  cooldown = 0, -- else the second call would be answered without asking the service
  http = { ca_file = arg[3] },
}

local function resident_memory()
  local status = assert(io.open "/proc/self/status")
  local kibibytes = status:read("*a"):match "VmRSS:%s*(%d+)"
  status:close()
  return tonumber(kibibytes)
end

--- The descriptor with which the folder is looked at is not among them.
local function open_descriptors()
  local count = 0
  for number = 0, 4095 do
    local information = io.open("/proc/self/fdinfo/" .. number)
    if information then
      count = count + 1
      information:close()
    end
  end
  return count
end

local made = 0
for index = 4, #arg do
  while made < tonumber(arg[index]) do
    assert(client:sync())
    made = made + 1
  end
  print(made, resident_memory(), open_descriptors())
end
