--- `client:doctor`: checks everything that a sync depends on, in the order in which a sync needs it. It requests no
-- sync.
--
-- It sends two requests and retries neither: one without a token, which tests the connection to the service, and one
-- that reads the tenant's record.

local Call = require "autopilot.sync.call"
local Request = require "autopilot.graph.request"
local access_token = require "autopilot.graph.access_token"
local answers = require "autopilot.graph.answer"
local contract = require "autopilot.store.contract"
local core = require "autopilot.core"
local dates = require "autopilot.base.dates"
local hint_of = require("autopilot.sync.outcome").hint_of
local hint_of_failure = require "autopilot.graph.hint"
local provider = require "autopilot.graph.token_provider"
local report = require "autopilot.sync.report"
local settings = require "autopilot.sync.record"
local url_parts = require "autopilot.base.url"

---@class autopilot.Check
---@field name string `name_resolution`, `proxy` and so on: the first argument of `check` below
---@field title string the name to display
---@field state "ok"|"warning"|"wrong"|"skipped"
---@field text string what was found, in one line
---@field advice string? what to do about it

--- It is `ok` unless a check is wrong; `hint` is the advice of the first wrong check.
---@class autopilot.DoctorReport: autopilot.Report
---@field checks autopilot.Check[]
--- Two answers, each in the shape of a report. The first is that to the request without a token, with its `headers`
--- and the `facts` of its connection. The second is that to the read of the record, or says why there is no token.
---@field requests table[]

-- The results so far are in a table, `found`: `client` and `call`; `is_curl`, the requests are sent by libcurl;
-- `obstacle`, why the checks that follow are skipped; `host`; `proxy`, and what names it; `answer`, to the request
-- without a token; `failed`, the check that reports why that failed; `facts` of its connection, by libcurl's names;
-- `received_at`, Unix time; `no_token`, the answer in place of a token; `token`, what it contains; `misfit`, the
-- answer that says why it must not be sent; `record`, the report of a read.

-- ---- What is wrong, and what to do about it ----------------------------------------------------------

--- Describes a failed answer: its error, with the HTTP status if there is one; else its outcome.
local function text_of(answer)
  local network, failure = answer.network, answer.error or {}
  local text = network and network.message or failure.message or failure.code or answer.mistake
  local result = answer.status and ("HTTP %d"):format(answer.status) or answer.outcome
  return text and answer.status and ("%s (%s)"):format(text, result) or text or result
end

local function advice_of(answer)
  if answer.outcome == "interrupted" then
    return hint_of_failure("unreachable", nil, answer.network) or settings.hint_of_lost
  end
  return hint_of(answer)
end

local advice_of_late = "The deadline was over before the answer had come: allow more time."

--- Returns state, text and advice of a check that is wrong because of this answer.
local function wrong(found, answer)
  local is_late = found.call:time_left() <= 0 and (answer.network or answer.is_transient)
  if is_late then
    found.obstacle = "the deadline has passed"
  end
  return "wrong", text_of(answer), is_late and advice_of_late or advice_of(answer)
end

-- ---- The checks, in the order in which they are made -------------------------------------------------

local checks, name_at_stage = {}, {}

--- Adds a check. `examine` returns a state, a text, and what to do. Of the traits, `stage` is that of the network
-- failures which the check reports, and `about` a function whose text is added to these; with `is_curls` only libcurl
-- provides what is needed; with `is_independent` the check is made even if an earlier one is wrong, and with
-- `is_harmless` the later ones are made even if this one is wrong.
local function check(name, title, traits, examine)
  checks[#checks + 1] = { name = name, title = title, traits = traits, examine = examine }
  name_at_stage[traits.stage or ""] = name
end

check("name_resolution", "Name resolution", { stage = "resolve", is_curls = true }, function(found)
  if found.proxy then
    local gets_address = found.proxy:lower():find "^socks[45]?:"
    return "ok",
      gets_address and "left to this machine: the proxy gets the address" or "left to the proxy"
  end
  return "ok", ("%s is %s"):format(found.host, found.facts["Address"] or "known")
end)

local function about_proxy(found)
  return "the proxy is " .. (found.proxy or "not known")
end

local of_proxy = { stage = "proxy", about = about_proxy, is_curls = true, is_independent = true }
check("proxy", "Proxy", of_proxy, function(found)
  return "ok", found.proxy or "none"
end)

check("connection", "Connection", { stage = "connect" }, function(found)
  local answer = found.answer
  local seconds = answer.timings and answer.timings.connect
  local text = seconds and ("made in %.0f ms"):format(seconds * 1000) or "made"
  return "ok", answer.http_version and text .. ", HTTP/" .. answer.http_version or text
end)

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

check("tls", "TLS", { stage = "tls", about = trust, is_curls = true }, function(found)
  local issuer, ends = found.facts["Issuer"], found.facts["Expire date"]
  if found.client.base_url:find "^http:" then
    return "ok", "none: base_url is http, which stays on this machine"
  elseif not issuer then
    return "ok", trust(found)
  end
  return "ok", ("issued by %s, ends %s; %s"):format(issuer, ends or "?", trust(found))
end)

local bad_answers = { unexpected = true, redirected = true, unavailable = true, not_found = true }

check("service", "Service", {}, function(found)
  local answer = found.answer
  if bad_answers[answer.outcome] then
    return wrong(found, answer)
  elseif answer.outcome == "throttled" then
    return "warning", text_of(answer), advice_of(answer)
  end
  local id = answer.request_id and ", request-id " .. answer.request_id or ""
  return "ok", ("answers HTTP %d without a token%s"):format(answer.status, id)
end)

-- Differences of the clocks in seconds, from which the check is a warning, and from which it is wrong. Entra refuses
-- the assertions of a machine whose clock is 5 minutes wrong.
local notable_difference, greatest_difference = 60, 300

check("clock", "Clock", { is_harmless = true }, function(found)
  local date, now = found.answer.service_date, found.received_at
  if not date then
    return "skipped", "the answer has no date"
  end
  -- The date has whole seconds, and the answer has travelled for a while.
  local behind, ahead = date - now, now - found.answer.elapsed - date - 1
  local size, side = math.max(behind, ahead, 0), behind > 0 and "behind" or "ahead of"
  local text = ("%s %s the service's"):format(dates.duration(size), side)
  if size < notable_difference then
    return "ok", size < 1 and "the same as the service's" or text
  end
  local advice = "Set this machine's clock (NTP): signing in and the expiry of tokens depend on it."
  return size >= greatest_difference and "wrong" or "warning", text, advice
end)

check("sign_in", "Sign-in", {}, function(found)
  local client, at = found.client, found.client.options.clock()
  local token, answer = provider.obtain(client, { deadline = found.call.deadline }, true)
  local code = not token and answer.error and answer.error.code
  if not (token or client.facts and access_token.misfits[code]) then
    found.no_token = answer
    return wrong(found, answer)
  end
  client:hide(client.facts.token)
  found.token, found.misfit = access_token.of(client.facts.token), answer
  local text = client.static_token and "the token was given" or "a token was obtained in %.1f s"
  return "ok", text:format(client.options.clock() - at)
end)

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

check("token", "Token", {}, function(found)
  local facts, misfit = found.token, found.misfit
  local text = facts.message and "only the service can read it: " .. facts.message
    or describe_token(facts, found.client.options.now())
  if misfit and misfit.error.code ~= "MissingPermission" then
    return "wrong", ("%s (%s)"):format(misfit.error.message, text), advice_of(misfit)
  end
  return "ok", text
end)

--- Reads the record once: the service's answer shows whether the token has the permission to read it.
check("permission", "Permission", {}, function(found)
  if found.misfit then -- the token lacks a permission
    return wrong(found, found.misfit)
  end
  local call = Call.new(found.client, "doctor")
  call.is_single_pass, call.deadline = true, found.call.deadline
  local read, failure = report.finish(call, settings.run(call))
  local record = read or failure
  found.record = record
  if record.outcome == "throttled" then
    found.obstacle = "the record could not be read"
    return "warning", text_of(record), advice_of(record)
  elseif failure and record.outcome ~= "not_licensed" then
    return wrong(found, record)
  end
  local text = read and "the record can be read" or "the service accepts the token"
  return "ok", text .. (found.token.allows == "sync" and "; the token permits a sync" or "")
end)

check("licence", "Licence", {}, function(found)
  if not found.record.ok then
    return wrong(found, found.record)
  end
  return "ok", "Intune answers for this tenant"
end)

check("last_sync", "Last sync", {}, function(found)
  local record = found.record
  local function stamp(seconds)
    local age = dates.duration(math.max(0, record.service_time - (seconds or 0)))
    return seconds and ("%s (%s ago)"):format(dates.show(seconds), age) or "none"
  end
  local is_known = record.sync_status ~= "unknown"
  if not (is_known or record.last_sync or record.last_manual_trigger) then
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
end)

check("cooldown", "Cooldown", {}, function(found)
  local left = math.ceil(found.record.cooldown_remaining)
  if left == 0 then
    return "ok", found.record.ready and "none: a sync is possible now" or "none"
  end
  local at = dates.show(found.client.options.now() + left)
  return "ok", ("a sync is possible in %s, at %s"):format(dates.duration(left), at)
end)

--- Adds a test value to the store, reads it back, and deletes it.
check("store", "Store", { is_independent = true, is_harmless = true }, function(found)
  local clock, given = found.client.options.clock, found.client.options.store
  local at = clock()
  if not given then
    return "ok", "none: nothing is shared with other processes"
  end
  local key = "autopilot:doctor:" .. core.uuid()
  local _, message = contract.call(given, "add", key, "value", 60)
  if not message then
    local read
    read, message = contract.call(given, "get", key)
    message = message or read ~= "value" and "what was written cannot be read again"
    contract.call(given, "delete_if", key, "value")
  end
  if message then
    local advice = "Until the store works each client asks by itself: check its address, that it "
      .. "runs, and that it may be written to."
    return "wrong", message:sub(1, 200), advice
  end
  return "ok", ("can be written and read, in %.0f ms"):format((clock() - at) * 1000)
end)

--- Runs one check. It is skipped if an earlier one has shown that nothing more can be checked.
local function run_check(found, one)
  local traits = one.traits
  local state, text, advice
  if found.failed == one.name then
    state, text, advice = wrong(found, found.answer)
    text = traits.about and ("%s; %s"):format(text, traits.about(found)) or text
  elseif found.obstacle and not traits.is_independent then
    state, text = "skipped", "not checked, because " .. found.obstacle
  elseif traits.is_curls and not found.is_curl then
    state, text = "skipped", "not known, because the client has a transport of its own"
  else
    state, text, advice = one.examine(found)
  end
  if state == "wrong" and not traits.is_harmless then
    found.obstacle = found.obstacle or ("'%s' is wrong"):format(one.title)
  end
  text = found.client:clean(text) or ""
  return { name = one.name, title = one.title, state = state, text = text, advice = advice }
end

-- ---- The request without a token ---------------------------------------------------------------------

--- Returns the proxy in use, without user and password, and the option or variable that names it; nil if no proxy is
-- used.
local function find_proxy(found)
  local given, origin = found.client.options.http.proxy, "http.proxy"
  if given == nil then
    origin = found.facts["Proxy"]
    given = origin and os.getenv(origin)
  end
  if given and given ~= "" then
    return ("%s, named by %s"):format(url_parts.without_user(given), origin)
  end
end

-- The facts of a connection that the report contains, by libcurl's names.
local reported_facts = ", Address, Proxy, Subject, Issuer, Start date, Expire date, "

--- Sends the request without a token, and stores its answer in `found`. While a Retry-After of the service lasts,
-- stores a `throttled` answer and sends nothing.
local function send_without_token(found)
  local client, call = found.client, found.call
  local held_for = client.memory:held_for(call:now())
  if held_for then
    found.obstacle = "the service has asked to be left alone for " .. dates.duration(held_for)
    found.answer = answers.not_sent(client, "throttled", { retry_after = held_for })
    return
  end
  local request = Request.new(client, "GET", client.record_url, 200, true)
  local answer = request:send(client, { deadline = call.deadline })
  found.answer, found.received_at = answer, client.options.now()
  if answer.network and not answer.status then
    -- At any other stage the request was sent, or may have been.
    found.failed = name_at_stage[answer.network.stage] or "service"
  end
  for name, value in (answer.facts or ""):gmatch "([%w ]+):([^%z]*)%z" do
    local fact = name:gsub(" Date$", " date") -- libcurl writes it with a capital, but not beside OpenSSL
    if reported_facts:find(", " .. fact .. ", ", 1, true) and not found.facts[fact] then
      found.facts[fact] = client:clean(value, 200)
    end
  end
  answer.facts = found.facts
  for name, value in pairs(answer.headers or {}) do -- a cookie may be a secret
    answer.headers[name] = name ~= "set-cookie" and client:clean(tostring(value)) or nil
  end
  if answer.retry_at then
    client.memory:note_refused(answer.outcome, answer.retry_after, client.options.clock())
  end
end

--- Runs all checks. The answer is that of an `autopilot.DoctorReport`.
local function run(call)
  local client = call.client
  local transport, _, host = client.transport, url_parts.split(client.base_url)
  local is_curl = type(transport) == "table" and transport.prepare ~= nil
  local found = { client = client, call = call, host = host, is_curl = is_curl, facts = {} }
  send_without_token(found)
  if found.answer.mistake then
    return found.answer
  end
  found.proxy = is_curl and find_proxy(found) or nil
  local made, first, titles = {}, nil, {}
  for index, one in ipairs(checks) do
    made[index] = run_check(found, one)
    if made[index].state == "wrong" then
      first, titles[#titles + 1] = first or made[index], one.title
    end
  end
  local latest = found.record or found.answer
  local requests = { found.answer, found.record or found.no_token }
  for _, one in ipairs(requests) do -- fields that a report of a read does not have
    one.delivered, one.sends, one.free_at, one.is_transient = nil, nil, nil, nil
  end
  return {
    ok = first == nil,
    checks = made,
    requests = requests,
    error = first and { message = table.concat(titles, ", ") .. ": " .. first.text },
    hint = first and first.advice,
    request_id = latest.request_id,
    client_request_id = latest.client_request_id,
    service_date = latest.service_date,
    retry_after = latest.retry_after,
  }
end

---@type autopilot.Operation
return { rules = settings.rules, run = run }
