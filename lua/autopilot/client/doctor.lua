--- `client:doctor`: checks everything that a sync depends on, in the order in which a sync needs it. It requests no
-- sync.
--
-- It sends two requests and retries neither: one without a token, which tests the connection to the service, and one
-- that reads the tenant's record. The checks themselves are in `autopilot.client.checks`.

local Call = require "autopilot.sync.call"
local Request = require "autopilot.graph.request"
local answers = require "autopilot.graph.answer"
local checks = require "autopilot.client.checks"
local dates = require "autopilot.base.dates"
local options = require "autopilot.base.options"
local report = require "autopilot.sync.report"
local url_parts = require "autopilot.base.url"

local doctor = {}

---@class autopilot.Check
---@field name string `name_resolution`, `proxy` and so on, as in `autopilot.client.checks`
---@field title string the name to display
---@field state "ok"|"warning"|"wrong"|"skipped"
---@field text string what was found, in one line
---@field advice string? what to do about it

---@class autopilot.DoctorReport: autopilot.Report `ok` unless a check is wrong; `hint` is the advice of the first wrong check
---@field checks autopilot.Check[]
--- Two answers, each in the shape of a report. The first is that to the request without a token, with its `headers`
--- and the `facts` of its connection. The second is that to the read of the record, or says why there is no token.
---@field requests table[]

local rules = { deadline = { type = "number", above = 0 } }

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
local reported_facts = {
  ["Address"] = true,
  ["Proxy"] = true,
  ["Subject"] = true,
  ["Issuer"] = true,
  ["Start date"] = true,
  ["Expire date"] = true,
}

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
  local answer = request:send_bare(client, { deadline = call.deadline })
  found.answer, found.received_at = answer, client.options.now()
  found.failed = answer.network and not answer.status and checks.failing(answer.network) or nil
  for name, value in (answer.facts or ""):gmatch "([%w ]+):([^%z]*)%z" do
    local fact = name:gsub(" Date$", " date") -- libcurl writes it with a capital, but not beside OpenSSL
    local is_new = reported_facts[fact] and not found.facts[fact]
    found.facts[fact] = is_new and client:clean(value, 200) or found.facts[fact]
  end
  answer.facts = found.facts
  for name, value in pairs(answer.headers or {}) do -- a cookie may be a secret
    answer.headers[name] = name ~= "set-cookie" and client:clean(tostring(value)) or nil
  end
  if answer.retry_at then
    client.memory:note_refused(answer.outcome, answer.retry_after, client.options.clock())
  end
end

--- Runs one check. It is skipped if an earlier one has shown that nothing more can be checked.
---@return autopilot.Check
local function run_check(found, check)
  local state, text, advice
  if found.failed == check[1] then
    state, text, advice = checks.wrong(found, found.answer)
    text = check.about and ("%s; %s"):format(text, check.about(found)) or text
  elseif found.obstacle and not check.is_independent then
    state, text = "skipped", "not looked at, because " .. found.obstacle
  elseif check.is_curls and not found.is_curl then
    state, text = "skipped", "the client's own transport does not tell it"
  else
    state, text, advice = check[3](found)
  end
  text = found.client:clean(text) or ""
  return { name = check[1], title = check[2], state = state, text = text, advice = advice }
end

--- Runs all checks.
---@param client autopilot.Client
---@param given { deadline: number? }? seconds
---@return autopilot.DoctorReport? report
---@return autopilot.DoctorReport? failure something is wrong
function doctor.call(client, given)
  Call.check(client, "doctor")
  local call = Call.new(client, "doctor", options.check("client:doctor", rules, given))
  local transport, _, host = client.transport, url_parts.split(client.base_url)
  local is_curl = type(transport) == "table" and transport.prepare ~= nil
  local found = { client = client, call = call, host = host, is_curl = is_curl, facts = {} }
  send_without_token(found)
  found.proxy = is_curl and find_proxy(found) or nil
  call:raise_mistake(found.answer)
  local made, first, titles = {}, nil, {}
  for index, check in ipairs(checks.all) do
    local current = run_check(found, check)
    made[index] = current
    if current.state == "wrong" then
      first, titles[#titles + 1] = first or current, current.title
      local reason = not check.is_harmless and ("'%s' is wrong"):format(current.title) or nil
      found.obstacle = found.obstacle or reason
    end
  end
  local latest = found.record or found.answer
  local requests = { found.answer, found.record or found.no_token }
  for _, answer in ipairs(requests) do -- fields that a report of a read does not have
    answer.delivered, answer.sends, answer.free_at, answer.is_transient = nil, nil, nil, nil
  end
  return report.finish(call, {
    ok = first == nil,
    checks = made,
    requests = requests,
    error = first and { message = table.concat(titles, ", ") .. ": " .. first.text },
    hint = first and first.advice,
    request_id = latest.request_id,
    client_request_id = latest.client_request_id,
    service_date = latest.service_date,
    retry_after = latest.retry_after,
  })
end

return doctor
