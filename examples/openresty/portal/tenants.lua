--- What is known of each tenant: for the dashboard, its history and the metrics. Nothing here sends a request.
--
-- Each tenant has three values in a shared dictionary, so that all workers know the same and a reload loses
-- nothing: a row, which is numbers; the JSON of `GET /tenants`; and a history. Two workers that note
-- something of one tenant at the same instant may lose one of the two entries.

local cjson = require "cjson.safe"
local answers = require "portal.answers"
local dictionaries = require "portal.dictionaries"
local metrics = require "portal.metrics"
local settings = require "portal.settings"

local tenants = {}

local dict = ngx.shared.autopilot_tenants

-- Entries that the history of a tenant has at most.
local longest_history = 12
-- Bytes of the service's message that are kept.
local longest_message = 300
-- Tenants that are read before other requests of the worker go on.
local at_once = 300
-- Seconds from one sync to the next one that Graph accepts, and the margin that the library adds.
local cooldown = 600 + 10

---@class portal.Row
---@field at number when the last report came
---@field last_trigger number when a sync was last asked for, as far as it is known; 0: never
---@field last_sync number when a sync last completed; 0: never
---@field next_possible number when Graph accepts the next one; 0: now
---@field problem string? the outcome that somebody has to look at

-- How the numbers of a row stand before its problem: each has 14 characters.
local row_format = "%14.3f%14.3f%14.3f%14.3f%s"

local blank = { at = 0, last_trigger = 0, last_sync = 0, next_possible = 0 }

---@param tenant string
---@return portal.Row
local function read_row(tenant)
  local text = dict:get("row " .. tenant)
  if not text then
    return blank
  end
  return {
    at = tonumber(text:sub(1, 14)),
    last_trigger = tonumber(text:sub(15, 28)),
    last_sync = tonumber(text:sub(29, 42)),
    next_possible = tonumber(text:sub(43, 56)),
    problem = #text > 56 and text:sub(57) or nil,
  }
end

---@param row portal.Row
---@param now number
---@return "needs_attention"|"fresh"|"cooling_down"|"stale"
local function state_of(row, now)
  if row.problem then
    return "needs_attention"
  elseif row.last_trigger > 0 and now < row.last_trigger + settings.max_age then
    return "fresh"
  end
  return now < row.next_possible and "cooling_down" or "stale"
end

-- Seconds by which two times of the service may seem to be apart: its Date header has whole seconds.
local inexactness = 5

--- Whether nothing has to be asked for a tenant: its last sync has completed, it will still be fresh at the next
-- look, and its record was read a short time ago. A sync that fails later is thus noticed somewhat later.
---@param tenant string
---@return boolean
function tenants.is_settled(tenant)
  local row, now = read_row(tenant), ngx.now()
  return state_of(row, now + settings.keep_fresh_every) == "fresh"
    and row.last_sync + inexactness >= row.last_trigger
    and now - row.at < settings.read_again_after
end

--- A failure that does not pass by itself.
local function is_problem(report)
  if report.outcome == "token_error" and (report.network or report.retry_at) then
    return false -- the token endpoint was away
  end
  return not report.ok and answers.status_of(report) == 502
end

--- Milliseconds are enough.
local function rounded(seconds)
  return math.floor(seconds * 1000 + 0.5) / 1000
end

--- The row after a report: what the report does not tell is kept.
local function updated(row, report, now)
  -- The record's times are the service's; its Date header shows the difference of the clocks.
  local shift = report.service_date and now - report.service_date or 0
  local triggered_at = report.last_manual_trigger and report.last_manual_trigger + shift
    or report.outcome == "started" and now
    or 0
  local synced_at = report.last_sync and report.last_sync + shift or 0
  -- A sync that failed, or has not ended yet, may have moved the record's stamp.
  local completed_at = report.sync_status == "completed" and synced_at or 0
  local new = {
    at = rounded(now),
    last_trigger = rounded(math.max(row.last_trigger, triggered_at)),
    last_sync = rounded(math.max(row.last_sync, completed_at)),
  }
  local latest = math.max(new.last_trigger, new.last_sync, synced_at)
  local cooled_at = latest > 0 and latest + cooldown or 0
  new.next_possible = rounded(math.max(cooled_at, report.retry_at or 0))
  return new
end

local function known(time)
  return time > 0 and time or nil
end

local function message_of(report)
  local message = report.error and (report.error.message or report.error.code)
    or report.network and report.network.message
  if message and #message > longest_message then
    message = message:sub(1, longest_message):gsub("[\192-\255][\128-\191]*$", "") -- no cut character
  end
  return message
end

--- What the dashboard shows of a report.
local function told(report)
  return {
    operation = report.operation,
    outcome = report.outcome,
    ok = report.ok,
    status = report.status,
    delivered = report.delivered,
    message = message_of(report),
    hint = report.hint,
    request_id = report.request_id,
    client_request_id = report.client_request_id,
  }
end

local function set(key, text)
  local _, message, has_evicted = dict:set(key, text)
  if message or has_evicted then
    dictionaries.complain("autopilot_tenants", message)
  end
end

--- Adds to the history. A result that comes again and again is one entry, with how often and since when.
local function add_to_history(tenant, entry, now)
  local history = tenants.history(tenant)
  local latest = history[1]
  entry.hint, entry.at, entry.first_at, entry.times = nil, rounded(now), rounded(now), 1
  if
    latest
    and latest.operation == entry.operation
    and latest.outcome == entry.outcome
    and latest.message == entry.message
  then
    entry.first_at, entry.times = latest.first_at, latest.times + 1
    history[1] = entry
  else
    table.insert(history, 1, entry)
    history[longest_history + 1] = nil
  end
  set("history " .. tenant, cjson.encode(history))
end

--- Notes what a call returned.
---@param tenant string
---@param report autopilot.Report
function tenants.note(tenant, report)
  local now, before = ngx.now(), read_row(tenant)
  metrics.count_report(report)
  local row, last = updated(before, report, now), told(report)
  if report.operation == "status" and report.ok then
    -- It tells when, but is no attempt of a sync: the last one stays shown.
    last = (cjson.decode(dict:get("json " .. tenant)) or {}).last
    row.problem = before.problem
  else
    row.problem = is_problem(report) and report.outcome or nil
    add_to_history(tenant, told(report), now)
  end
  local shown = {
    tenant = tenant,
    at = row.at,
    last_trigger = known(row.last_trigger),
    last_sync = known(row.last_sync),
    next_possible = known(row.next_possible),
    needs_attention = row.problem ~= nil,
    last = last,
  }
  set("json " .. tenant, cjson.encode(shown))
  set(
    "row " .. tenant,
    row_format:format(row.at, row.last_trigger, row.last_sync, row.next_possible, row.problem or "")
  )
end

--- The last results of a tenant, the newest first.
---@param tenant string
---@return table[]
function tenants.history(tenant)
  return cjson.decode(dict:get("history " .. tenant)) or {}
end

--- Calls a function with each tenant, what is known of it, and its state now. After some hundred tenants it
-- lets the worker do other work.
---@param visit fun(tenant: string, row: portal.Row, state: string)
function tenants.each(visit)
  local now = ngx.now()
  for index, tenant in ipairs(settings.tenants) do
    if index % at_once == 0 then
      ngx.sleep(0.001)
    end
    local row = read_row(tenant)
    visit(tenant, row, state_of(row, now))
  end
end

--- Answers `GET /tenants`: all tenants, or those of which something was noted at `since` or later.
function tenants.answer()
  local since = tonumber(ngx.var.arg_since) or 0
  local rows = {}
  tenants.each(function(tenant, row, state)
    if row.at >= since then
      local json = dict:get("json " .. tenant)
        or cjson.encode { tenant = tenant, needs_attention = false }
      rows[#rows + 1] = ('%s,"state":"%s"}'):format(json:sub(1, -2), state)
    end
  end)
  return answers.send_text(
    200,
    ('{"now":%.3f,"max_age":%.3f,"list":"%s","tenants":[%s]}'):format(
      ngx.now(),
      settings.max_age,
      settings.list_name,
      table.concat(rows, ",")
    )
  )
end

--- Answers `GET /tenants/TENANT/history`.
---@param tenant string
function tenants.answer_history(tenant)
  if not settings.is_tenant[tenant] then
    return answers.refuse(404, "this portal does not serve that tenant")
  end
  local history = dict:get("history " .. tenant) or "[]"
  return answers.send_text(
    200,
    ('{"tenant":%s,"history":%s}'):format(cjson.encode(tenant), history)
  )
end

return tenants
