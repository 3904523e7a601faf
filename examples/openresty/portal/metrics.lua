--- Metrics in Prometheus's text format (version 0.0.4), from the clients' events and reports.
--
-- All counters are in a shared dictionary, with their line of the output as key. So the counts of all
-- workers add up, and survive a reload. Label values come from lists (outcomes, tenants), never from a
-- request.

local metrics = {}

local dict = ngx.shared.autopilot_metrics

local duration = "autopilot_operation_duration_seconds"
local buckets = { 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60 }

-- In the order of the output.
local families = {
  {
    name = "autopilot_operations_total",
    type = "counter",
    help = "Operations by outcome; a status that was read has the outcome read.",
  },
  { name = duration, type = "histogram", help = "Seconds that operations took, waits included." },
  {
    name = "autopilot_attempts_total",
    type = "counter",
    help = "Requests to Microsoft Graph that were begun, reads included.",
  },
  {
    name = "autopilot_responses_total",
    type = "counter",
    help = "How these requests ended, by HTTP status; 0 when no answer came.",
  },
  { name = "autopilot_retries_total", type = "counter", help = "Attempts that were repeated." },
  {
    name = "autopilot_gave_up_total",
    type = "counter",
    help = "Operations that were given up while failing, by the reason why.",
  },
  {
    name = "autopilot_tokens_total",
    type = "counter",
    help = "Tokens asked of the token function, by whether it gave one.",
  },
  {
    name = "autopilot_joined_total",
    type = "counter",
    help = "Requests that were answered with what another's request came to.",
  },
  {
    name = "autopilot_store_failures_total",
    type = "counter",
    help = "Calls of the store that failed.",
  },
  {
    name = "autopilot_sunset_announcements_total",
    type = "counter",
    help = "Answers that announced the end of this version of the API.",
  },
  {
    name = "autopilot_last_sync_timestamp_seconds",
    type = "gauge",
    help = "Unix time of the tenant's last successful sync that is known, in this machine's clock.",
  },
  {
    name = "autopilot_keep_fresh_timestamp_seconds",
    type = "gauge",
    help = "Unix time at which the tenants were last looked at.",
  },
}

local escapes = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

--- `{a="1",b="2"}` from names and values in turn; an empty text without arguments.
local function labels_of(...)
  local parts = {}
  for index = 1, select("#", ...), 2 do
    local name, value = select(index, ...)
    parts[#parts + 1] = ('%s="%s"'):format(name, tostring(value):gsub('[\\"\n]', escapes))
  end
  return parts[1] and "{" .. table.concat(parts, ",") .. "}" or ""
end

--- The labels of a histogram's bucket without the last one, `le`: those of its count.
local function bucket_key(labels, le)
  return ('%s_bucket%s,le="%s"}'):format(duration, labels:sub(1, -2), le)
end

local function add(key, amount)
  local sum, message, evicted = dict:incr(key, amount, 0)
  if not sum or evicted then
    ngx.log(ngx.WARN, "metrics: autopilot_metrics is too small: ", message or "a counter was lost")
  end
end

local function observe(seconds, ...)
  local labels = labels_of(...)
  for _, limit in ipairs(buckets) do
    add(bucket_key(labels, limit), seconds <= limit and 1 or 0)
  end
  add(duration .. "_sum" .. labels, seconds)
  add(duration .. "_count" .. labels, 1)
end

local by_event = {
  attempt = function(event)
    add("autopilot_attempts_total" .. labels_of("tenant", event.tenant), 1)
  end,
  response = function(event)
    local labels = labels_of("tenant", event.tenant, "status", event.status or 0)
    add("autopilot_responses_total" .. labels, 1)
  end,
  retry = function(event)
    add("autopilot_retries_total" .. labels_of("tenant", event.tenant), 1)
  end,
  gave_up = function(event)
    local labels = labels_of("tenant", event.tenant, "reason", event.reason)
    add("autopilot_gave_up_total" .. labels, 1)
  end,
  token = function(event)
    local labels = labels_of("tenant", event.tenant, "result", event.ok and "ok" or "failed")
    add("autopilot_tokens_total" .. labels, 1)
  end,
  joined = function(event)
    add("autopilot_joined_total" .. labels_of("tenant", event.tenant), 1)
  end,
  store_failed = function(event)
    add("autopilot_store_failures_total" .. labels_of("tenant", event.tenant), 1)
  end,
  sunset = function(event)
    add("autopilot_sunset_announcements_total" .. labels_of("tenant", event.tenant), 1)
  end,
}

--- For the client's option `on_event`.
---@param event table
function metrics.count_event(event)
  local count = by_event[event.type]
  if count then
    count(event)
  end
end

--- Notes when the tenant's last successful sync was, by this report, in this machine's clock.
local function last_sync_of(report)
  if report.sync_status ~= "completed" or not report.last_sync then
    return nil -- a sync that failed, or has not ended yet, may have moved the stamp
  end
  -- The times are the service's; its Date header shows the difference of the clocks.
  return report.last_sync + (report.service_date and ngx.now() - report.service_date or 0)
end

--- Counts the outcome that an operation returned.
---@param report autopilot.Report
function metrics.count_report(report)
  local outcome = report.outcome or (report.ok and "read") or "failed"
  add(
    "autopilot_operations_total"
      .. labels_of("tenant", report.tenant, "operation", report.operation, "outcome", outcome),
    1
  )
  observe(report.elapsed or 0, "operation", report.operation)
  local last_sync = last_sync_of(report)
  if last_sync then
    local key = "autopilot_last_sync_timestamp_seconds" .. labels_of("tenant", report.tenant)
    dict:set(key, math.max(dict:get(key) or 0, last_sync))
  end
end

--- Notes that all tenants have been looked at.
function metrics.note_look()
  dict:set("autopilot_keep_fresh_timestamp_seconds", ngx.now())
end

local function tell(lines, key, value)
  lines[#lines + 1] = ("%s %s"):format(key, ("%.15g"):format(value))
end

--- The name of the metric that a key belongs to: the text before its labels, without a histogram's suffix.
local function family_of(key)
  local name = key:match "^[%w_]+"
  return name:match("^(" .. duration .. ")_") or name
end

local function tell_histogram(lines, keys)
  for _, key in ipairs(keys) do
    local labels = key:match("^" .. duration .. "_count(.*)$")
    if labels then
      local count = dict:get(key) or 0
      for _, limit in ipairs(buckets) do
        local bucket = bucket_key(labels, limit)
        tell(lines, bucket, dict:get(bucket) or 0)
      end
      tell(lines, bucket_key(labels, "+Inf"), count)
      tell(lines, duration .. "_sum" .. labels, dict:get(duration .. "_sum" .. labels) or 0)
      tell(lines, key, count)
    end
  end
end

local function tell_family(lines, family, keys)
  lines[#lines + 1] = ("# HELP %s %s"):format(family.name, family.help)
  lines[#lines + 1] = ("# TYPE %s %s"):format(family.name, family.type)
  if family.type == "histogram" then
    return tell_histogram(lines, keys)
  end
  for _, key in ipairs(keys) do
    tell(lines, key, dict:get(key) or 0)
  end
end

--- The same times as ages, which most alarms are about; computed when the metrics are read.
local function tell_ages(lines, keys)
  local name = "autopilot_last_sync_age_seconds"
  lines[#lines + 1] = ("# HELP %s Seconds since the tenant's last sync that is known."):format(name)
  lines[#lines + 1] = ("# TYPE %s gauge"):format(name)
  for _, key in ipairs(keys) do
    tell(lines, name .. key:match "{.*$", math.max(0, ngx.now() - (dict:get(key) or 0)))
  end
end

--- All metrics as text.
---@return string
function metrics.text()
  -- Holds the lock of the dictionary meanwhile: with thousands of tenants, for some milliseconds.
  local all, by_family, lines = dict:get_keys(0), {}, {}
  table.sort(all)
  for _, key in ipairs(all) do
    local name = family_of(key)
    by_family[name] = by_family[name] or {}
    table.insert(by_family[name], key)
  end
  for _, family in ipairs(families) do
    local keys = by_family[family.name]
    if keys then
      tell_family(lines, family, keys)
    end
  end
  tell_ages(lines, by_family.autopilot_last_sync_timestamp_seconds or {})
  return table.concat(lines, "\n") .. "\n"
end

--- Answers the current request.
function metrics.answer()
  local text = metrics.text()
  ngx.header["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8"
  ngx.header["Cache-Control"] = "no-store"
  ngx.header["Content-Length"] = #text
  ngx.print(text)
end

return metrics
