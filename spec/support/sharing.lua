--- The judge of calls that overlap: compares requests and reports with what really happened.
--
-- A store that fails excuses a request in vain, never a false claim. So does a worker that died with
-- its claim, and what it had not reported yet.

local knowledge = require "support.client_knowledge"
local report_rules = require "support.report_rules"

local sharing = {}

local tiny = 1e-6
local interval, margin = 600, 10
-- What a client may add for the service's clock: `Date` has whole seconds, and answers travel.
local slack = 130

local function wrong(history, rule, format, ...)
  history.wrong = history.wrong or {}
  table.insert(history.wrong, { rule = rule, text = format:format(...) })
end

local function sums_of(history)
  history.sums = history.sums
    or { calls = 0, posts = 0, joined = 0, cooldown = 0, died = 0, open = 0 }
  return history.sums
end

-- ---- While it happens --------------------------------------------------------------------------------

--- Whether a request that is under way just now has a living sender that did not force it.
local function is_in_the_way(other, request)
  return other ~= request
    and other.method == "POST"
    and not other.done
    and not other.call.died
    and not other.call.options.force
end

--- Whether the clock was set, so that nothing can be said of its times.
local function was_set(history)
  return history.clock.was_set_between(0, history.model.now)
end

function sharing.on_request(history, request)
  local call = request.call
  if call.deadline and request.sent + request.timeout > call.deadline + tiny then
    wrong(history, "deadline", "request %d could outlive the deadline", request.number)
  end
  local told_until = call.client.told_until or 0
  if not call.options.force and request.sent < told_until - tiny then
    local early = told_until - request.sent
    wrong(history, "held", "request %d: %.3f s of a Retry-After are left", request.number, early)
  end
  if request.method ~= "POST" then
    return
  end
  sums_of(history).posts = sums_of(history).posts + 1
  if call.options.force or history.store_fails > 0 then
    return
  end
  for _, other in ipairs(history.network.requests) do
    if is_in_the_way(other, request) then
      wrong(history, "one at a time", "request %d while %d", request.number, other.number)
    end
  end
  local known = history.known_trigger
  if known and request.sent < known + interval and not was_set(history) then
    wrong(
      history,
      "in vain",
      "request %d: a sync at +%.3f is known",
      request.number,
      known - history.model.begin
    )
  end
end

function sharing.on_answer(history, request)
  local answer = request.answer
  if not answer then
    return
  elseif answer.kind == "started" then
    history.known_trigger = math.max(history.known_trigger or 0, request.sync.trigger)
  elseif answer.record then
    local latest = math.max(answer.record.trigger or 0, answer.record.last_sync or 0)
    history.known_trigger = math.max(history.known_trigger or 0, latest)
  elseif answer.kind == "cooldown" then
    history.refused_at = request.done
  end
  if answer.retry_after then
    history.told_until = math.max(history.told_until or 0, request.done + answer.retry_after)
    local client = request.call.client
    client.told_until = math.max(client.told_until or 0, request.done + answer.retry_after)
    history.longest_told = math.max(history.longest_told or 0, answer.retry_after)
  end
end

function sharing.on_sleep(history, _, seconds)
  if not (seconds >= 0 and seconds < 86400) then
    wrong(history, "sleep", "slept %s s", tostring(seconds))
  end
end

-- ---- What was claimed --------------------------------------------------------------------------------

--- The call whose request a joined report describes.
local function joined_call(history, report)
  for _, request in ipairs(history.network.requests) do
    if request.method == "POST" and request.id == report.client_request_id then
      return request.call, request
    end
  end
end

local function has_unsettled_post(call)
  for _, request in ipairs(call.requests) do
    local status = request.answer and request.answer.status
    local is_refusal = status and status >= 400 and status < 500 and request.answer.is_services
    local is_clear = status == 204 or is_refusal
    if request.method == "POST" and (not is_clear or request.sends > 1) then
      return true
    end
  end
end

--- Whether, for all that a client can know, a sync was begun by its own lost request, or by that of the
-- call it joined.
local function may_be_another(history, call)
  if has_unsettled_post(call) then
    return true
  end
  for _, other in ipairs(history.calls) do
    if call.report.joined and other.began <= call.ended and has_unsettled_post(other) then
      return true
    end
  end
end

--- The same for a sync that its client took for its own in a call before, which went on after that moment.
local function may_be_another_before(history, call, since)
  for _, other in ipairs(history.calls) do
    local is_before = other.client == call.client and other ~= call and other.report
    if is_before and other.ended >= since and may_be_another(history, other) then
      return true
    end
  end
end

--- Holds a claim that a sync was triggered at or after a moment against the truth.
local function check_covered(history, call, since, has_to_be_over)
  local sync = history.model:find(function(sync)
    return sync.trigger >= since
      and (not has_to_be_over or (sync.ends <= call.ended and not sync.failed))
  end)
  if sync then
    return
  end
  local is_open = may_be_another(history, call) or may_be_another_before(history, call, since)
  local close = is_open
    and history.model:find(function(candidate)
      return candidate.trigger >= since - 13 -- two round trips, and the second of `Date`
    end)
  if close then
    sums_of(history).open = sums_of(history).open + 1
  else
    wrong(
      history,
      "claim",
      "%s: no such sync since +%.7f",
      call.report.outcome,
      since - history.model.begin
    )
  end
end

--- Whether the clock was set after the answer was told that a call took for its own, and before it began:
-- the time of that answer is then unknown.
local function is_from_before_setting(history, call)
  local holder = call.report.joined and joined_call(history, call.report)
  local told = holder and holder.ended
  return told and told < call.began and history.clock.was_set_between(told, call.began)
end

local function check_joined(history, call)
  local report = call.report
  sums_of(history).joined = sums_of(history).joined + 1
  local last = call.requests[#call.requests]
  if last and last.method == "GET" then
    return nil -- what it says besides is of the read
  end
  local holder, request = joined_call(history, report)
  if not report.client_request_id then
    return nil -- what the other knew without a request
  elseif not holder then
    return wrong(history, "joined", "nobody's request %s", tostring(report.client_request_id))
  elseif holder.client == call.client and holder.ended < call.began then
    wrong(history, "joined", "its own request")
  elseif request.sent > call.ended or (holder.ended or math.huge) < call.began then
    wrong(history, "joined", "request %d was not under way", request.number)
  elseif report.status ~= (request.answer and request.answer.status) then
    wrong(history, "joined", "request %d was answered otherwise", request.number)
  elseif report.answered_by ~= "client" then
    wrong(history, "joined", "answered by %s", tostring(report.answered_by))
  end
  return holder
end

--- The first of a call's requests whose answer was lost, or nil: a request that was told to come later was not.
local function first_lost(call)
  for _, request in ipairs(call.requests) do
    if request.method == "POST" and knowledge.was_lost(request) then
      return request
    end
  end
end

--- A lost request is reported to others only when the record was read for it, no call had the time, or the
-- service had asked with a Retry-After to be left alone, which binds reads too.
local function check_interrupted(history, call)
  local holder = joined_call(history, call.report)
  local post = holder and first_lost(holder)
  local has_time = not call.deadline or call.ended < call.deadline - tiny
  local is_bound = (history.told_until or 0) > call.ended
  if not post or not has_time or is_bound or history.store_fails > 0 then
    return
  end
  for _, request in ipairs(history.network.requests) do
    if request.method == "GET" and request.sent >= post.sent and request.sent <= call.ended then
      return
    end
  end
  wrong(history, "weak", "nobody has read what came of request %d, or later ones", post.number)
end

local function check_cooldown(history, call)
  local report, model = call.report, history.model
  local latest = math.max(history.refused_at or 0, 0)
  for _, sync in ipairs(model.syncs) do
    latest = math.max(latest, sync.trigger, sync.ends <= call.ended and sync.ends or 0)
  end
  local ends = math.max(latest + interval + margin + slack, history.told_until or 0)
  if not report.retry_at then
    wrong(history, "cooldown", "without its end")
  elseif was_set(history) then
    return
  elseif history.clock.moment(report.retry_at) > ends then
    local late = history.clock.moment(report.retry_at) - ends
    wrong(history, "cooldown", "%.3f s too long", late)
  elseif history.clock.moment(report.retry_at) <= call.ended then
    wrong(history, "cooldown", "it is over")
  end
end

--- Whether anything was under way that a call may have met with.
local function check_in_progress(history, call)
  for _, other in ipairs(history.calls) do
    local ended = other.died and other.died + 400 or other.ended or math.huge
    if
      other ~= call
      and other.requests[1]
      and other.began <= call.ended
      and ended >= call.began
    then
      return
    end
  end
  local runs = history.model:find(function(sync)
    return sync.trigger <= call.ended and sync.ends + 10 >= call.began
  end)
  -- By a 409 with Retry-After; who learns of it from another, after the clock was set back, cannot know
  -- how much of it has passed.
  local is_told = (history.told_until or 0) + (was_set(history) and history.longest_told or 0)
    >= call.began
  if not runs and not is_told and history.store_fails == 0 then
    wrong(history, "in_progress", "nothing is under way")
  end
end

local function check_time(history, call)
  if call.deadline and call.ended > call.deadline + tiny then
    wrong(history, "deadline", "returned %.3f s late", call.ended - call.deadline)
  elseif not call.deadline and not call.options.wait and call.ended - call.began > 1200 then
    wrong(history, "for ever", "it took %.0f s", call.ended - call.began)
  end
end

--- From when on a sync counts that a call says to have been started. One that was joined may have been
-- triggered before the call, while the other's request was under way; but not for `ensure`.
local function since_of(history, call)
  local since = call.since or call.began
  if call.report.joined and not call.since then
    for _, other in ipairs(history.calls) do
      local overlaps = other.began <= call.ended and (other.ended or math.huge) >= call.began
      since = overlaps and other.requests[1] and math.min(since, other.began) or since
    end
  end
  return since
end

function sharing.on_return(history, call)
  local sums, report = sums_of(history), call.report
  sums.calls = sums.calls + 1
  check_time(history, call)
  report_rules.check(call, function(...)
    wrong(history, ...)
  end)
  if call.method == "status" then
    return
  end
  if is_from_before_setting(history, call) then
    sums.open = sums.open + 1
    return
  end
  local holder = report.joined and check_joined(history, call)
  call.holder = holder
  if report.ok then
    local has_to_be_over = call.options.wait and report.outcome == "completed"
    check_covered(history, call, since_of(history, call), has_to_be_over)
  elseif report.outcome == "cooldown" and report.answered_by == "client" and not report.joined then
    sums.cooldown = sums.cooldown + (call.requests[1] and 0 or 1)
    check_cooldown(history, call)
  elseif report.outcome == "in_progress" and report.answered_by == "client" then
    check_in_progress(history, call)
  elseif report.outcome == "interrupted" and report.joined then
    check_interrupted(history, call)
  end
end

-- ---- When everything has arrived ---------------------------------------------------------------------

local function has_arrived(call)
  for _, request in ipairs(call and call.requests or {}) do
    if request.method == "POST" and request.arrived > 0 then
      return true
    end
  end
  return false
end

function sharing.on_end(history)
  local sums = sums_of(history)
  for _, call in ipairs(history.calls) do
    sums.died = sums.died + (call.died and 1 or 0)
    if not call.report and not call.died then
      wrong(history, "for ever", "%s of client %d did not return", call.method, call.client.number)
    elseif call.report and call.method ~= "status" then
      local arrived = has_arrived(call)
        or has_arrived(call.holder)
        or (call.report.joined and not call.holder)
      if call.report.delivered == "yes" and not arrived and may_be_another(history, call) then
        sums.open = sums.open + 1 -- a sync was begun while its lost request was under way
      elseif call.report.delivered == "yes" and not arrived then
        wrong(history, "delivered", "client %d: yes, but nothing arrived", call.client.number)
      elseif call.report.delivered == "no" and has_arrived(call) then
        wrong(history, "delivered", "client %d: no, but it arrived", call.client.number)
      end
    end
  end
end

return sharing
