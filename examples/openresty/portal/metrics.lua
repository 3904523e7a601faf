--- Counters for Prometheus, from the clients' events and reports; `portal.metrics_page` tells them.
--
-- They are in a shared dictionary, with their line of the output as key. So the counts of all workers add
-- up, and survive a reload. They are sums over all tenants, so that their number does not depend on the
-- list. Label values come from lists, such as that of the outcomes, never from a request.

local dictionaries = require "portal.dictionaries"

local metrics = {}

local dict = ngx.shared.autopilot_metrics

metrics.duration = "autopilot_operation_duration_seconds"
metrics.buckets = { 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60 }

local escapes = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

--- `{a="1",b="2"}` from names and values in turn; an empty text without arguments.
---@return string
function metrics.labels_of(...)
  local parts = {}
  for index = 1, select("#", ...), 2 do
    local name, value = select(index, ...)
    parts[#parts + 1] = ('%s="%s"'):format(name, tostring(value):gsub('[\\"\n]', escapes))
  end
  return parts[1] and "{" .. table.concat(parts, ",") .. "}" or ""
end

--- The line of a histogram's bucket, from the labels of its count.
---@param labels string
---@param limit number|string
function metrics.bucket_key(labels, limit)
  return ('%s_bucket%s,le="%s"}'):format(metrics.duration, labels:sub(1, -2), limit)
end

local function add(key, amount)
  local sum, message, has_evicted = dict:incr(key, amount, 0)
  if not sum or has_evicted then
    dictionaries.complain("autopilot_metrics", message)
  end
end

local function observe(seconds, ...)
  local labels = metrics.labels_of(...)
  for _, limit in ipairs(metrics.buckets) do
    add(metrics.bucket_key(labels, limit), seconds <= limit and 1 or 0)
  end
  add(metrics.duration .. "_sum" .. labels, seconds)
  add(metrics.duration .. "_count" .. labels, 1)
end

-- The counter of each event.
local counter_of = {
  attempt = "autopilot_attempts_total",
  response = "autopilot_responses_total",
  retry = "autopilot_retries_total",
  gave_up = "autopilot_gave_up_total",
  token = "autopilot_tokens_total",
  joined = "autopilot_joined_total",
  store_failed = "autopilot_store_failures_total",
  sunset = "autopilot_sunset_announcements_total",
  slowed_down = "autopilot_slowed_down_total",
  circuit_opened = "autopilot_circuit_opened_total",
}

-- The label of an event's counter, if it has one: its name and value.
local label_of = {
  response = function(event)
    return "status", event.status or 0
  end,
  gave_up = function(event)
    return "reason", event.reason
  end,
  token = function(event)
    return "result", event.ok and "ok" or "failed"
  end,
}

-- To Prometheus, a counter that is first seen with the value 1 has not increased.
for event, counter in pairs(counter_of) do
  if not label_of[event] then
    dict:add(counter, 0)
  end
end

--- For the option `on_event` of clients and fleets.
---@param event table
function metrics.count_event(event)
  local counter, label = counter_of[event.type], label_of[event.type]
  if counter then
    add(counter .. (label and metrics.labels_of(label(event)) or ""), 1)
  end
end

--- Counts the outcome that an operation returned.
---@param report autopilot.Report
function metrics.count_report(report)
  local outcome = report.outcome or (report.ok and "read") or "failed"
  local labels = metrics.labels_of("operation", report.operation, "outcome", outcome)
  add("autopilot_operations_total" .. labels, 1)
  observe(report.elapsed or 0, "operation", report.operation)
end

--- Notes that all tenants have been looked at.
function metrics.note_look()
  dict:set("autopilot_keep_fresh_timestamp_seconds", ngx.now())
end

--- All counters by their lines; about two hundred.
---@return string[] keys in order
---@return table<string, number> values
function metrics.counted()
  local keys, values = dict:get_keys(0), {}
  table.sort(keys)
  for _, key in ipairs(keys) do
    values[key] = dict:get(key) or 0
  end
  return keys, values
end

return metrics
