--- Judges a run of several machines by the log of the emulated service: no tenant was asked for twice, and no report
-- is untrue.

local cjson = require "cjson.safe"

local judge = {}

--- What happened to the requests for a sync, by the service's log: statuses by tenant, and by client request id.
---@param service table
function judge.posts(service)
  local by_tenant, by_id = {}, {}
  for _, entry in ipairs(service:control("GET", "log")) do
    if entry.event == "request" and entry.operation == "sync" then
      by_tenant[entry.tenant] = by_tenant[entry.tenant] or {}
      table.insert(by_tenant[entry.tenant], entry.status)
      by_id[entry.client_request_id] = entry.status
    end
  end
  return by_tenant, by_id
end

--- Raises if a report is untrue, by the service's log.
local function check(report, posts, by_id)
  local own = {} -- statuses of this report's own requests
  for _, id in ipairs(report.ids) do
    own[#own + 1] = by_id[id]
  end
  local count = posts[report.tenant] and #posts[report.tenant] or 0
  local is_true
  if report.ok then
    is_true = report.outcome == "started" and count == 1
  elseif report.delivered == "no" then
    is_true = #own == 0
  else
    is_true = report.delivered == "unknown" and report.outcome ~= "in_progress"
  end
  assert(is_true, ("%s, but %d requests were seen: %s"):format(report.text, count, #own))
end

--- Raises if a tenant was asked for twice.
---@param posts table<string, integer[]> as of `judge.posts`
function judge.check_posts(posts)
  for tenant, statuses in pairs(posts) do
    local said = table.concat(statuses, ", ")
    assert(#statuses == 1, ("%s was asked for %d times: %s"):format(tenant, #statuses, said))
  end
end

--- Checks all reports and requests; returns how many tenants have which outcome at the end.
---@param world support.MachineWorld
function judge.check_all(world)
  local posts, by_id = judge.posts(world.service)
  local told = {}
  judge.check_posts(posts)
  for _, machine in ipairs(world.begun) do
    local seen = 0
    for line in machine.text():gmatch "(%b{})\n" do
      local report = assert(cjson.decode(line), line)
      check(report, posts, by_id)
      told[report.outcome] = (told[report.outcome] or 0) + 1
      seen = seen + 1
    end
    assert(not machine.has_ended() or seen == world.count, "a machine has not told all tenants")
  end
  local lost = 0
  for number = 1, world.count do
    lost = lost + (posts[("tenant-%d.example"):format(number)] and 0 or 1)
  end
  return told, lost
end

return judge
