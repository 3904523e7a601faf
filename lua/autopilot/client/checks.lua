--- The checks of `client:doctor`: each looks at one thing that a sync depends on.

local Call = require "autopilot.sync.call"
local access_token = require "autopilot.graph.access_token"
local contract = require "autopilot.store.contract"
local core = require "autopilot.core"
local dates = require "autopilot.base.dates"
local hint_of = require("autopilot.sync.outcome").hint_of
local hint_of_failure = require "autopilot.graph.hint"
local hint_of_lost = require("autopilot.sync.record").hint_of_lost
local provider = require "autopilot.graph.token_provider"
local report = require "autopilot.sync.report"
local status = require "autopilot.sync.status"

local checks = {}

---@class autopilot.Examination what the checks have found so far
---@field client autopilot.Client
---@field call autopilot.Call
---@field is_curl boolean the requests are sent by libcurl
---@field obstacle string? why the checks that follow are skipped
---@field host string
---@field proxy string? the proxy in use, without its password, and the option or variable that names it
---@field answer table the answer to the request without a token, in the shape of a report
---@field failed string? name of the check that reports the network failure of this request
---@field facts table<string, string> facts of this request's connection, by libcurl's names
---@field received_at number when its answer came, Unix time
---@field no_token table? the answer that says why no token was obtained
---@field token autopilot.graph.TokenFacts? what the token contains
---@field misfit table? the answer that says why the token must not be sent
---@field record autopilot.StatusReport? the result of reading the record

-- Differences of the clocks in seconds, from which the check is a warning, and from which it is wrong. Entra refuses
-- the assertions of a machine whose clock is 5 minutes wrong.
local notable_difference, greatest_difference = 60, 300

-- ---- What is wrong, and what to do about it ----------------------------------------------------------

--- Describes a failed answer: its error, with the HTTP status if there is one; else its outcome.
local function text_of(answer)
  local network, failure = answer.network, answer.error or {}
  local text = network and network.message or failure.message or failure.code or answer.mistake
  local result = answer.status and ("HTTP %d"):format(answer.status) or answer.outcome
  return text and answer.status and ("%s (%s)"):format(text, result) or text or result
end

local advice_of_late = "The deadline was over before the answer had come: allow more time."

local function advice_of(answer)
  if answer.outcome == "interrupted" then
    return hint_of_failure("unreachable", nil, answer.network) or hint_of_lost
  end
  return hint_of(answer)
end

--- Returns state, text and advice of a check that is wrong because of this answer.
---@param found autopilot.Examination
---@param answer table
function checks.wrong(found, answer)
  local is_late = found.call:time_left() <= 0 and (answer.network or answer.is_transient)
  if is_late then
    found.obstacle = "the deadline has passed"
  end
  return "wrong", text_of(answer), is_late and advice_of_late or advice_of(answer)
end

local wrong = checks.wrong

-- ---- The checks: each returns a state, a text, and what to do ----------------------------------------

local function name_resolution(found)
  if found.proxy and found.proxy:lower():find "^socks[45]?:" then
    return "ok", "left to this machine: the proxy gets the address"
  elseif found.proxy then
    return "ok", "left to the proxy"
  end
  return "ok", ("%s is %s"):format(found.host, found.facts["Address"] or "known")
end

local function proxy(found)
  return "ok", found.proxy or "none"
end

--- Names the proxy; added to the text when the request failed at the proxy.
local function describe_proxy(found)
  return "the proxy is " .. (found.proxy or "not known")
end

local function connection(found)
  local answer = found.answer
  local seconds = answer.timings and answer.timings.connect
  local text = seconds and ("made in %.0f ms"):format(seconds * 1000) or "made"
  return "ok", answer.http_version and text .. ", HTTP/" .. answer.http_version or text
end

--- Says where the trusted certificate authorities are, and which option or variable names that place.
local function trust(found)
  local http, info, origin = found.client.options.http, core.info(), "this machine's"
  local place = http.ca_file or http.ca_path
  if place then
    origin = http.ca_file and "http.ca_file" or "http.ca_path"
  else
    place = info.ca_file or info.ca_path or "the system"
    for _, variable in ipairs { "SSL_CERT_FILE", "SSL_CERT_DIR" } do
      origin = os.getenv(variable) == place and variable or origin
    end
  end
  return ("trusted are the authorities of %s (%s)"):format(place, origin)
end

local function tls(found)
  local issuer, ends = found.facts["Issuer"], found.facts["Expire date"]
  if found.client.base_url:find "^http:" then
    return "ok", "none: base_url is http, which stays on this machine"
  elseif not issuer then
    return "ok", trust(found)
  end
  return "ok", ("issued by %s, ends %s; %s"):format(issuer, ends or "?", trust(found))
end

local bad_answers = { unexpected = true, redirected = true, unavailable = true, not_found = true }

local function service(found)
  local answer = found.answer
  if bad_answers[answer.outcome] then
    return wrong(found, answer)
  elseif answer.outcome == "throttled" then
    return "warning", text_of(answer), advice_of(answer)
  end
  local id = answer.request_id and ", request-id " .. answer.request_id or ""
  return "ok", ("answers HTTP %d without a token%s"):format(answer.status, id)
end

local function clock(found)
  local date, now = found.answer.service_date, found.received_at
  if not date then
    return "skipped", "the answer has no date"
  end
  -- The date has whole seconds, and the answer has travelled for a while.
  local behind, ahead = date - now, now - found.answer.elapsed - date - 1
  local size = math.max(behind, ahead, 0)
  local text = ("%s %s the service's"):format(
    dates.duration(size),
    behind > 0 and "behind" or "ahead of"
  )
  local advice = "Set this machine's clock (NTP): signing in and the expiry of tokens depend on it."
  if size >= notable_difference then
    return size >= greatest_difference and "wrong" or "warning", text, advice
  end
  return "ok", size < 1 and "the same as the service's" or text
end

--- Gets a token from the client's provider.
local function sign_in(found)
  local client, at = found.client, found.client.options.clock()
  local token, answer = provider.obtain(client, { deadline = found.call.deadline }, true)
  local code = not token and answer.error and answer.error.code
  local is_there = token or client.facts and access_token.misfits[code]
  if not is_there then
    found.no_token = answer
    return wrong(found, answer)
  end
  client:hide(client.facts.token)
  found.token = access_token.of(client.facts.token)
  found.misfit = answer
  local seconds = client.options.clock() - at
  local text = client.static_token and "the token was given" or "a token was obtained in %.1f s"
  return "ok", text:format(seconds)
end

--- Lists a token's user or application, tenant, audience, permissions and expiry.
local function describe_token(facts, now)
  local parts, left = {}, facts.expires_at and facts.expires_at - now
  local function add(form, value)
    parts[#parts + 1] = value and form:format(value) or nil
  end
  add("of the user %s", facts.user)
  add("of the application %s", facts.application)
  add("tenant %s", facts.tenant_id)
  add("audience %s", facts.audience)
  add("roles %s", facts.roles and table.concat(facts.roles, " "))
  add("scopes %s", facts.scopes and table.concat(facts.scopes, " "))
  add(
    left and left < 0 and "expired %s ago by this machine's clock" or "expires in %s",
    left and dates.duration(math.min(math.abs(left), 1e11))
  )
  return table.concat(parts, ", ")
end

local function token(found)
  local facts, misfit = found.token, found.misfit
  local text = facts.message and "only the service can read it: " .. facts.message
    or describe_token(facts, found.client.options.now())
  if misfit and misfit.error.code ~= "MissingPermission" then
    return "wrong", ("%s (%s)"):format(misfit.error.message, text), advice_of(misfit)
  end
  return "ok", text
end

--- Reads the record once: the service's answer shows whether the token has the permission to read it.
local function permission(found)
  if found.misfit then -- the token lacks a permission
    return wrong(found, found.misfit)
  end
  local call = Call.new(found.client, "doctor")
  call.is_single_pass, call.deadline = true, found.call.deadline
  local read, failure = report.finish(call, status.run(call))
  local record = read or failure
  found.record = record
  if record.outcome == "throttled" then
    found.obstacle = "the record could not be read"
    return "warning", text_of(record), advice_of(record)
  elseif failure and record.outcome ~= "not_licensed" then
    return wrong(found, record)
  end
  local text = read and "the record can be read" or "the service accepts the token"
  return "ok", found.token.allows == "sync" and text .. "; the token permits a sync" or text
end

local function licence(found)
  if not found.record.ok then
    return wrong(found, found.record)
  end
  return "ok", "Intune answers for this tenant"
end

local function last_sync(found)
  local record = found.record
  local function stamp(seconds)
    local age = dates.duration(math.max(0, record.service_time - (seconds or 0)))
    return seconds and ("%s (%s ago)"):format(dates.show(seconds), age) or "none"
  end
  if
    not record.last_sync
    and not record.last_manual_trigger
    and record.sync_status == "unknown"
  then
    return "ok", "none on record"
  end
  local text = ("%s; last sync: %s; last trigger: %s"):format(
    record.sync_status or "state not told",
    stamp(record.last_sync),
    stamp(record.last_manual_trigger)
  )
  if record.sync_status == "failed" then
    return "warning", text, advice_of { outcome = "sync_failed" }
  elseif record.stuck_for then
    return "warning", text, record.hint
  end
  return "ok", text
end

local function cooldown(found)
  local left = math.ceil(found.record.cooldown_remaining)
  if left == 0 then
    return "ok", found.record.ready and "none: a sync is possible now" or "none"
  end
  local at = dates.show(found.client.options.now() + left)
  return "ok", ("a sync is possible in %s, at %s"):format(dates.duration(left), at)
end

local store_advice = "Until the store works each client asks by itself: check its address, that it "
  .. "runs, and that it may be written to."

--- Adds a test value to the store, reads it back, and deletes it.
local function store(found)
  local settings = found.client.options
  local at, given = settings.clock(), settings.store
  if not given then
    return "ok", "none: nothing is shared with other processes"
  end
  local key = "autopilot:doctor:" .. core.uuid()
  local _, message = contract.call(given, "add", key, "value", 60)
  if not message then
    local read
    read, message = contract.get(given, key)
    message = message or read ~= "value" and "what was written cannot be read again"
    contract.call(given, "delete_if", key, "value")
  end
  if message then
    return "wrong", message:sub(1, 200), store_advice
  end
  return "ok", ("can be written and read, in %.0f ms"):format((settings.clock() - at) * 1000)
end

---@class autopilot.CheckRow
---@field [1] string the check's name
---@field [2] string the check's title
---@field [3] fun(found: autopilot.Examination): string, string, string?
---@field stage string? stage of the network failures that this check reports
---@field about (fun(found: autopilot.Examination): string)? returns a text to add to such a failure
---@field is_curls boolean? only libcurl provides what this check needs
---@field is_independent boolean? this check is made even if an earlier one is wrong
---@field is_harmless boolean? the checks that follow are made even if this one is wrong

-- In the order in which they are made.
---@type autopilot.CheckRow[]
checks.all = {
  { "name_resolution", "Name resolution", name_resolution, stage = "resolve", is_curls = true },
  {
    "proxy",
    "Proxy",
    proxy,
    about = describe_proxy,
    stage = "proxy",
    is_curls = true,
    is_independent = true,
  },
  { "connection", "Connection", connection, stage = "connect" },
  { "tls", "TLS", tls, about = trust, stage = "tls", is_curls = true },
  { "service", "Service", service },
  { "clock", "Clock", clock, is_harmless = true },
  { "sign_in", "Sign-in", sign_in },
  { "token", "Token", token },
  { "permission", "Permission", permission },
  { "licence", "Licence", licence },
  { "last_sync", "Last sync", last_sync },
  { "cooldown", "Cooldown", cooldown },
  { "store", "Store", store, is_independent = true, is_harmless = true },
}

--- Returns the name of the check that reports this network failure of the request without a token.
---@param network autopilot.NetworkFailure
---@return string
function checks.failing(network)
  for _, check in ipairs(checks.all) do
    if check.stage == network.stage then
      return check[1]
    end
  end
  return "service" -- at any other stage the request was sent, or may have been
end

return checks
