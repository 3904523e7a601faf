--- The judge of a history: compares the client's reports with what really happened.
--
-- Exact, on the service's own time, also where a clock is set in the middle of a call. Two things cannot be
-- known by any client, and are counted apart: on which side of our sending somebody else's stamp lies that
-- falls into the second which `Date` cuts off (`open`), and whose a sync is that was begun while our own
-- request was under way (`whose`).

local knowledge = require "support.client_knowledge"
local report_rules = require "support.report_rules"

local certainty = {}

local margin = 10 -- the client's default
local tiny = 1e-6
local overslept = 1 / 64 -- a sleep ends at the next moment of the histories' grid, not before

local function wrong(history, rule, format, ...)
  history.wrong = history.wrong or {}
  table.insert(history.wrong, { rule = rule, text = format:format(...) })
end

local function add(history, name, number)
  history.sums = history.sums or { open = 0, whose = 0, calls = 0, ok = 0, requests = 0 }
  history.sums[name] = history.sums[name] + number
end

-- ---- While it happens ---------------------------------------------------------------------------

function certainty.on_answer(_, request)
  knowledge.gather(request.call, request.call.client, request)
end

function certainty.on_request(history, request)
  local call = request.call
  local client = call.client
  if call.deadline and request.sent + request.timeout > call.deadline + tiny then
    wrong(history, "deadline", "request %d could outlive the deadline", request.number)
  end
  local told = not call.options.force and knowledge.waits_for(client, request.sent)
  if told then
    local format = "request %d was sent %.3f s after request %d told Retry-After %d"
    local passed = request.sent - told.done
    wrong(history, "held", format, request.number, passed, told.number, told.answer.retry_after)
  end
  if request.method ~= "POST" then
    return
  end
  if call.method == "status" or call.method == "wait" then
    wrong(history, "reads only", "%s posted", call.method)
  end
  local reason = not call.options.force
    and not client.clock.was_set_between(0, request.sent)
    and knowledge.futile_because(call, client, request)
  if reason then
    wrong(history, "futile", "request %d: %s", request.number, reason)
  end
end

function certainty.on_sleep(history, call, seconds)
  call.sleeps[history.model.now] = true
  if not (seconds >= 0 and seconds < 86400) then
    wrong(history, "sleep", "slept %s s", tostring(seconds))
  elseif call.deadline and history.model.now + seconds > call.deadline + tiny then
    wrong(history, "deadline", "a sleep of %.3f s outlives the deadline", seconds)
  elseif call.method == "ensure" and not call.options.wait then
    wrong(history, "wait=false", "slept %.3f s", seconds)
  end
end

-- ---- What was claimed ---------------------------------------------------------------------------

local function posts_of(requests)
  local posts = {}
  for _, request in ipairs(requests) do
    posts[#posts + 1] = request.method == "POST" and request or nil
  end
  return posts
end

--- Requests for a sync by this client with an unknown result, sent at or after a moment.
local function unsettled_posts(client, since)
  local found = {}
  for _, request in ipairs(posts_of(client.requests)) do
    local status = request.answer and request.answer.status
    local is_refusal = status and status >= 400 and status <= 499 and request.answer.is_services
    local was_told = status == 204 or is_refusal
    if request.sent >= since and request.done and (not was_told or request.sends > 1) then
      found[#found + 1] = request
    end
  end
  return found
end

--- The first read after the request that showed this stamp, unless one before did.
local function first_sight(client, post, stamp)
  for _, request in ipairs(knowledge.of(client).answers) do
    local record = request.answer.record
    if record and record.trigger == stamp then
      return request.number > post.number and request or nil
    end
  end
end

--- The further read that is needed when a stamp is ambiguous, if there is time for it.
local function closer_read(history, post, sight)
  local call, took = sight.call, sight.done - sight.sent
  local follower = history.network.requests[sight.number + 1]
  local has_time = not call.deadline or sight.done + 1 + 2 * took < call.deadline
  local may_sleep = call.method ~= "ensure" or call.options.wait
  if took < 0.005 or not has_time or not may_sleep or post.call ~= call then
    return nil
  elseif not call.sleeps[sight.done] then
    wrong(history, "closer", "the stamp that request %d showed was believed", sight.number)
  elseif follower and follower.call == call and follower.sent < sight.done + 1.01 then
    return knowledge.is_services(follower) and follower
  end
end

--- Whether a stamp from before our sending was indistinguishable from one of our request.
local function is_open_by_date(history, client, post, stamp)
  local sight = first_sight(client, post, stamp)
  local sent = post.sent
  if not sight or stamp < sent + knowledge.offset_range(client, sent, sight) then
    return false
  end
  local took, closer = sight.done - sight.sent, closer_read(history, post, sight)
  if not closer then
    return true
  elseif closer.done - closer.sent + overslept < 2 * took and sent - stamp > 2 * took then
    return false
  end
  return stamp >= sent + knowledge.offset_range(client, sent, closer)
end

--- Whether, for all that a client can know, the sync was begun while its own request was under way.
local function may_be_ours(client, post, stamp)
  local sight = first_sight(client, post, stamp)
  if not sight then
    return false
  end
  local lower = knowledge.offset_range(client, post.sent, sight)
  local _, upper = knowledge.offset_range(client, post.done, sight)
  return stamp >= post.sent + lower and stamp <= post.done + upper
end

--- Whether the client was shown, before the call's last record, that a sync which was triggered at or after
-- that stamp had completed.
local function saw_completed(call, stamp)
  for _, request in ipairs(knowledge.of(call.client).answers) do
    local record = request.answer.record
    local is_proof = record and record.status == "completed" and record.trigger
    if request == call.record then
      return false
    elseif is_proof and record.trigger >= stamp and record.last_sync >= record.trigger then
      return true
    end
  end
end

--- A record that says `failed` is the failure of the sync that it tells of, also where a later one that the
-- service began by itself has failed: this cannot be known. But not if it was seen completed before.
local function check_failed(history, call)
  local record = call.record and call.record.answer.record
  if not record or record.status ~= "failed" then
    wrong(history, "failed", "the last record does not say so")
  elseif saw_completed(call, record.trigger) then
    wrong(history, "failed", "it was seen completed before")
  end
end

--- Holds a claim that a sync was triggered at or after `since` (and, where `state` says so, has
-- completed or failed) against the truth.
local function check_covered(history, call, since, state)
  local model = history.model
  local function fits(sync, from)
    local is_own = type(sync.by) == "table" and sync.by.client == call.client
    -- How far the client's clock drifts from `since` to the call, no client can know.
    local slack = is_own and call.began > from and 1e-4 * (call.began - from) or 0
    return sync.trigger >= from - slack
      and (not state or (sync.ends <= call.ended and sync.failed == (state == "failed")))
  end
  if model:find(function(sync)
    return fits(sync, since)
  end) then
    return
  end
  for _, post in ipairs(unsettled_posts(call.client, since)) do
    local sync = model:find(function(sync)
      return sync.trigger < since
        and fits(sync, -math.huge)
        and is_open_by_date(history, call.client, post, sync.trigger)
    end)
    if sync then
      add(history, "open", 1)
      return
    end
  end
  wrong(history, "claim", "%s: no sync since +%.7f", call.report.outcome, since - model.begin)
end

--- Whether, as far as any client can know, a sync was begun while its own request was under way.
local function is_whose_open(history, call)
  for _, post in ipairs(unsettled_posts(call.client, call.began)) do
    if
      post.call == call
      and history.model:find(function(sync)
        return sync.manual and may_be_ours(call.client, post, sync.trigger)
      end)
    then
      return true
    end
  end
  return false
end

local function check_confirmation(history, call)
  local report = call.report
  if report.confirmed_by == "response" then
    for _, post in ipairs(call.requests) do
      if post.answer and post.answer.kind == "started" and post.sync then
        return
      end
    end
    wrong(history, "confirmed_by", "no 204 was heard")
  elseif report.outcome == "started" and report.confirmed_by ~= "status" then
    wrong(history, "confirmed_by", "started, confirmed by %s", tostring(report.confirmed_by))
  end
end

local claims = {}

function claims.sync(history, call)
  check_covered(history, call, call.began, call.options.wait and "completed" or nil)
end

function claims.ensure(history, call)
  check_covered(history, call, call.since, call.options.wait and "completed" or nil)
  if call.report.outcome == "fresh" then
    local record = call.record.answer.record
    if #posts_of(call.requests) > 0 then
      wrong(history, "fresh", "it posted")
    elseif record.status == "failed" and not saw_completed(call, record.trigger) then
      wrong(history, "fresh", "the sync has failed")
    end
  end
end

function claims.wait(history, call)
  check_covered(history, call, call.since or -math.huge, "completed")
end

function claims.status(history, call)
  local client, report = call.client, call.report
  local ends = client.settings.cooldown == 0 and 0 or knowledge.cooldown_end(client)
  if report.ready and (call.ended < ends or knowledge.waits_for(client, call.ended)) then
    wrong(history, "ready", "sync would answer by itself")
  elseif ends > 0 and (report.cooldown_until or 0) < ends then
    wrong(history, "ready", "the cooldown lasts longer")
  end
end

local not_ok = { in_progress = true, cooldown = true, throttled = true, interrupted = true }

--- A sync that our lost request began is owned up to once its record was read.
local function check_missed(history, call)
  local record = call.record and call.record.answer.record
  for _, post in ipairs(unsettled_posts(call.client, call.began)) do
    local is_shown = record
      and post.call == call
      and post.sync
      and record.trigger == post.sync.trigger
    if is_shown and call.method == "sync" and not_ok[call.report.outcome] then
      wrong(history, "missed", "request %d began the sync", post.number)
    end
  end
end

-- ---- When to ask again --------------------------------------------------------------------------

local function check_retry_at(history, call)
  local report, client = call.report, call.client
  local clock, knows = client.clock, knowledge.of(client)
  if not report.retry_at then
    -- A bare 429 has no end. A cooldown that the client itself tells has one, unless the call waited until it was
    -- over, and then could send nothing: the report is the last answer from before.
    local is_clients = report.outcome == "cooldown" and report.answered_by ~= "service"
    local attempts = report.attempts or {}
    local last = attempts[#attempts]
    local was_unsent = report.gave_up == "deadline" or (last and last.outcome == "unreachable")
    local has_passed = was_unsent and knowledge.cooldown_end(client) <= call.ended
    if is_clients and client.settings.cooldown ~= 0 and not has_passed then
      wrong(history, "retry_at", "a cooldown without its end")
    end
    return
  elseif report.retry_after < report.retry_at - clock.shows(call.ended) - 1e-3 then
    wrong(history, "retry_after", "%s is too short", tostring(report.retry_after))
  elseif report.outcome ~= "cooldown" or clock.was_set_between(0, call.ended) then
    return
  end
  local asked = clock.moment(report.retry_at)
  -- A client without a cooldown knows the ends of Retry-Afters only.
  local earliest = client.settings.cooldown == 0 and call.ended or knowledge.cooldown_end(client)
  local lower, upper = knowledge.offset_range(client, call.ended)
  local latest = call.ended -- a refusal of just now
  for _, told in ipairs(knows.retry_after) do
    latest = math.max(latest, told.done + told.answer.retry_after - 600 - margin)
  end
  latest = math.max(latest, knows.stamp + upper - lower) + 600 + margin
  if asked < earliest - tiny then
    wrong(history, "retry_at", "%.3f s before the end that is known", earliest - asked)
  elseif asked > latest + 0.1 then
    wrong(history, "retry_at", "%.3f s later than need be", asked - latest)
  end
end

function certainty.on_return(history, call)
  add(history, "calls", 1)
  add(history, "requests", #call.requests)
  if call.raised then
    return wrong(history, "raised", "%s", call.raised)
  end
  local report = call.report
  if call.deadline and call.ended > call.deadline + tiny then
    wrong(history, "deadline", "returned %.3f s late", call.ended - call.deadline)
  end
  if report.ok then
    add(history, "ok", 1)
    claims[call.method](history, call)
  elseif report.outcome == "sync_failed" then
    check_failed(history, call)
    check_covered(history, call, call.method == "sync" and call.began or call.since or 0, "failed")
  end
  report_rules.check(call, function(...)
    wrong(history, ...)
  end)
  call.is_whose_open = report.delivered == "yes" and is_whose_open(history, call)
  check_confirmation(history, call)
  check_missed(history, call)
  check_retry_at(history, call)
end

-- ---- When everything has arrived ----------------------------------------------------------------

local function check_delivered(history, what, delivered, arrived)
  if delivered == "no" and arrived then
    wrong(history, "delivered", "%s: no, but it arrived", what)
  elseif delivered == "yes" and not arrived then
    wrong(history, "delivered", "%s: yes, but it never arrived", what)
  end
end

local function check_attempts(history, call)
  local posts, place = posts_of(call.requests), 0
  for number, attempt in ipairs(call.report.attempts or {}) do
    local what = ("attempt %d"):format(number)
    local post
    if attempt.client_request_id then
      place = place + 1
      post = posts[place]
    end
    if attempt.number ~= number or (attempt.client_request_id and not post) then
      wrong(history, "attempts", "%s is not one", what)
    elseif post and (post.id ~= attempt.client_request_id or post.sends ~= attempt.sends) then
      wrong(history, "attempts", "%s is not request %d", what, post.number)
    elseif not post and (attempt.delivered ~= "no" or attempt.sends ~= 0) then
      wrong(history, "attempts", "%s was not sent", what)
    elseif post then
      check_delivered(history, what, attempt.delivered, post.arrived > 0)
    end
  end
  if place ~= #posts then
    wrong(history, "attempts", "%d told, %d posted", place, #posts)
  end
end

function certainty.on_end(history)
  for _, call in ipairs(history.calls) do
    if call.report then
      local arrived = false
      for _, post in ipairs(posts_of(call.requests)) do
        arrived = arrived or post.arrived > 0
      end
      local delivered = call.report.delivered
      if delivered == "yes" and not arrived and call.is_whose_open then
        add(history, "whose", 1)
      else
        check_delivered(history, call.method, delivered, arrived)
      end
      check_attempts(history, call)
    end
  end
end

return certainty
