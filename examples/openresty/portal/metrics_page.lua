--- GET /metrics: the counters, and what is known of each tenant, in Prometheus's text format (0.0.4).

local dictionaries = require "portal.dictionaries"
local metrics = require "portal.metrics"
local tenants = require "portal.tenants"

local metrics_page = {}

-- In the order of the output: name, type, help. An indented line belongs to the row before it.
local rows = [[
autopilot_operations_total counter Operations by outcome; a status that was read has the outcome
  read.
autopilot_operation_duration_seconds histogram Seconds that operations took, waits included.
autopilot_attempts_total counter Requests to Microsoft Graph that were begun, reads included.
autopilot_responses_total counter How these requests ended, by HTTP status; 0 when no answer came.
autopilot_retries_total counter Attempts that were repeated.
autopilot_gave_up_total counter Operations that were given up while failing, by the reason why.
autopilot_tokens_total counter Tokens asked of the token function, by whether it gave one.
autopilot_joined_total counter Requests that were answered with what another's request came to.
autopilot_store_failures_total counter Calls of the store that failed.
autopilot_sunset_announcements_total counter Answers that announced the end of this version of the
  API.
autopilot_slowed_down_total counter Times that looks at all tenants slowed down because the
  service throttled.
autopilot_circuit_opened_total counter Times that looks at all tenants paused because a host or a
  tenant failed again and again.
autopilot_keep_fresh_timestamp_seconds gauge Unix time at which the tenants were last looked at.
autopilot_last_sync_timestamp_seconds gauge Unix time of the tenant's last successful sync that is
  known, in this machine's clock.
autopilot_last_sync_age_seconds gauge Seconds since the tenant's last sync that is known.
autopilot_tenant_needs_attention gauge 1 for a tenant whose last operation failed in a way that
  does not pass by itself.
autopilot_tenants gauge Tenants by what is known of them.
autopilot_dictionary_capacity_bytes gauge Size of each shared dictionary.
autopilot_dictionary_free_bytes gauge Free pages of each shared dictionary.
]]

local function tell(lines, key, value)
  lines[#lines + 1] = ("%s %.15g"):format(key, value)
end

--- The lines of the counters, by metric.
---@return table<string, string[]>
local function counter_lines()
  local keys, values = metrics.counted()
  local by_name = {}
  local function lines_of(name)
    by_name[name] = by_name[name] or {}
    return by_name[name]
  end
  for _, key in ipairs(keys) do
    local name = key:match "^[%w_]+"
    local labels = key:match("^" .. metrics.duration .. "_count(.*)$")
    if labels then
      local lines = lines_of(metrics.duration)
      for _, limit in ipairs(metrics.buckets) do
        local bucket = metrics.bucket_key(labels, limit)
        tell(lines, bucket, values[bucket] or 0)
      end
      tell(lines, metrics.bucket_key(labels, "+Inf"), values[key])
      local sum = metrics.duration .. "_sum" .. labels
      tell(lines, sum, values[sum] or 0)
      tell(lines, key, values[key])
    elseif not name:find(metrics.duration, 1, true) then
      tell(lines_of(name), key, values[key])
    end
  end
  return by_name
end

-- How the two lines of each tenant begin, made once: there may be thousands.
local beginnings = {}

local function beginnings_of(tenant)
  local labels = metrics.labels_of("tenant", tenant)
  beginnings[tenant] = {
    time = "autopilot_last_sync_timestamp_seconds" .. labels,
    age = "autopilot_last_sync_age_seconds" .. labels,
  }
  return beginnings[tenant]
end

--- Adds the lines of the tenants.
local function add_tenants(by_name)
  local now, counts = ngx.now(), { fresh = 0, stale = 0, cooling_down = 0, needs_attention = 0 }
  local times, ages, problems = {}, {}, {}
  tenants.each(function(tenant, row, state)
    counts[state] = counts[state] + 1
    if row.last_sync > 0 then
      local beginning = beginnings[tenant] or beginnings_of(tenant)
      tell(times, beginning.time, row.last_sync)
      tell(ages, beginning.age, math.max(0, now - row.last_sync))
    end
    if row.problem then
      local why = metrics.labels_of("tenant", tenant, "outcome", row.problem)
      tell(problems, "autopilot_tenant_needs_attention" .. why, 1)
    end
  end)
  by_name.autopilot_last_sync_timestamp_seconds = times
  by_name.autopilot_last_sync_age_seconds = ages
  by_name.autopilot_tenant_needs_attention = problems
  by_name.autopilot_tenants = {}
  for _, state in ipairs { "fresh", "stale", "cooling_down", "needs_attention" } do
    local labels = metrics.labels_of("state", state)
    tell(by_name.autopilot_tenants, "autopilot_tenants" .. labels, counts[state])
  end
end

local function add_dictionaries(by_name)
  local capacities, free = {}, {}
  dictionaries.each(function(name, capacity, free_bytes)
    local labels = metrics.labels_of("dictionary", name)
    tell(capacities, "autopilot_dictionary_capacity_bytes" .. labels, capacity)
    tell(free, "autopilot_dictionary_free_bytes" .. labels, free_bytes)
  end)
  by_name.autopilot_dictionary_capacity_bytes = capacities
  by_name.autopilot_dictionary_free_bytes = free
end

--- All metrics as text.
---@return string
function metrics_page.text()
  local by_name, parts = counter_lines(), {}
  add_tenants(by_name)
  add_dictionaries(by_name)
  for row in rows:gsub("\n +", " "):gmatch "[^\n]+" do
    local name, kind, help = row:match "^(%S+) (%S+) (.+)$"
    local lines = by_name[name] or {}
    table.insert(lines, 1, ("# HELP %s %s\n# TYPE %s %s"):format(name, help, name, kind))
    parts[#parts + 1] = table.concat(lines, "\n")
  end
  return table.concat(parts, "\n") .. "\n"
end

--- Answers the current request.
function metrics_page.answer()
  local text = metrics_page.text()
  ngx.header["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8"
  ngx.header["Cache-Control"] = "no-store"
  ngx.header["Content-Length"] = #text
  ngx.print(text)
end

return metrics_page
