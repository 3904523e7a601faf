--- A tenant as it truly is: which request arrived when, which sync began when, and how it ended.
--
-- The referee of the certainty spec. It shares nothing with `autopilot.emulator`, so that a mistake
-- there does not hide the same mistake here. Its time is the service's, exact; the clients' clocks are
-- made from it. The network between is `support.tenant_network`.

local Model = {}
Model.__index = Model

Model.begin = 1785000000 -- a Saturday in July 2026; whole, so that fractions stay exact

--- A sync that was begun.
---@class spec.Sync
---@field trigger number exact
---@field ends number exact
---@field failed boolean
---@field manual boolean it leaves a trigger's stamp
---@field by any the request that began it; "other" or "service"

--- What is unknown of the real service, and the model's own choice.
local function random_rules(choices)
  return {
    cooldown = 600,
    anchor = choices:pick { "trigger", "ends" },
    is_extended = choices:chance(0.4), -- by a refusal
    progress_first = choices:chance(0.5), -- 409 rather than 429 while a sync runs
    duration = choices:pick {
      { 0.5, 0.5 },
      { 0, 0 },
      { 0, 2 },
      { 5, 90 },
      { 60, 60 },
      { 30, 590 },
      { 500, 1900 },
    },
    failing = choices:pick { 0, 0, 0, 0.3, 1 },
    automatic_every = choices:pick { 0, 0, 0, 900, 4000 },
    others_every = choices:pick { 0, 0, 300, 700, 3000 },
    stamp = choices:pick { "ends", "ends", "trigger" }, -- what `lastSyncDateTime` tells of
    failure_moves_stamp = choices:chance(0.5), -- of the last sync
    stale = choices:pick { 0, 0, 0, 2, 8 }, -- seconds that a read may be late
    retry_after_at_409 = choices:chance(0.2),
    retry_after_at_429 = choices:chance(0.3),
  }
end

---@param choices table see support.choices
function Model.new(choices)
  local self = setmetatable({
    choices = choices,
    rules = random_rules(choices),
    now = Model.begin,
    settled = Model.begin, -- nothing can happen any more before
    events = {},
    syncs = {},
    history = {}, -- lines for a reader
    generation = 1, -- of the token that is valid
  }, Model)
  local last = choices:pick { false, 5000, 700, 620, 300, 20 }
  if last then
    self:begin_sync(Model.begin - last - choices:seconds(9), "other", true)
  end
  self:plan_next("others_every", function()
    self:ask("other")
  end)
  self:plan_next("automatic_every", function()
    self:begin_automatic()
  end)
  return self
end

function Model:note(format, ...)
  self.history[#self.history + 1] = { self.now - Model.begin, format:format(...) }
end

--- Something will happen at a time that has not come yet.
function Model:at(time, act)
  local events, place = self.events, #self.events + 1
  while place > 1 and events[place - 1].time > time do
    place = place - 1
  end
  table.insert(events, place, { time = time, act = act })
end

--- Lets time pass.
function Model:advance(time)
  local events = self.events
  while events[1] and events[1].time <= time do
    local event = table.remove(events, 1)
    self.now = event.time
    self.settled = math.max(self.settled, event.time)
    event.act()
  end
  self.now = time
end

--- Lets everything happen that is still under way, such as requests that arrive late.
function Model:finish()
  self.is_over = true
  self:advance(self.now + 300)
end

--- A thing that recurs at random.
function Model:plan_next(rule, act)
  local every = self.rules[rule]
  if every > 0 then
    self:at(self.now + 1 + self.choices:seconds(2 * every), function()
      if not self.is_over then
        act()
        self:plan_next(rule, act)
      end
    end)
  end
end

function Model:begin_sync(time, by, manual)
  local range = self.rules.duration
  local sync = {
    trigger = time,
    ends = time + range[1] + self.choices:seconds(range[2] - range[1]),
    failed = self.choices:chance(self.rules.failing),
    manual = manual,
    by = by,
  }
  self.syncs[#self.syncs + 1] = sync
  self:note(
    "    a sync begins at +%.7f by %s and %s at +%.7f",
    time - Model.begin,
    type(by) == "table" and "request " .. by.number or by,
    sync.failed and "fails" or "ends",
    sync.ends - Model.begin
  )
  return sync
end

function Model:begin_automatic()
  local last = self.syncs[#self.syncs]
  if not last or last.ends <= self.now then
    self:begin_sync(self.now, "service", false)
  end
end

--- The moment at which the service accepts a sync again.
function Model:cooldown_end()
  local last = self.syncs[#self.syncs]
  if not last then
    return self.now
  end
  return math.max(last[self.rules.anchor], self.refused_at or 0) + self.rules.cooldown
end

--- Another client asks for a sync now.
---@return "started"|"in_progress"|"cooldown"
function Model:ask(by)
  local rules, last = self.rules, self.syncs[#self.syncs]
  local runs = last and last.ends > self.now
  local is_cooling = self:cooldown_end() > self.now
  if runs and (rules.progress_first or not is_cooling) then
    return "in_progress"
  elseif is_cooling then
    self.refused_at = rules.is_extended and self.now or self.refused_at
    return "cooldown"
  end
  self:begin_sync(self.now, by, true)
  return "started"
end

--- What a read shows now, which may be what was true some seconds ago.
---@return { status: string, last_sync: number?, trigger: number? }
function Model:record()
  local stale = self.rules.stale
  local at = self.now - (stale > 0 and self.choices:seconds(stale) or 0)
  local record, last_sync = { status = "unknown" }, nil
  for _, sync in ipairs(self.syncs) do
    if sync.trigger <= at then
      local has_ended = sync.ends <= at
      record.status = not has_ended and "inProgress" or sync.failed and "failed" or "completed"
      record.last_sync = last_sync
      if sync.manual then
        record.trigger = sync.trigger
      end
      if not has_ended and self.rules.stamp == "trigger" then
        record.last_sync = sync.trigger
      elseif has_ended and (self.rules.failure_moves_stamp or not sync.failed) then
        last_sync = sync[self.rules.stamp]
        record.last_sync = last_sync
      end
    end
  end
  return record
end

--- Whether there is a sync that fits.
---@param fits fun(sync: spec.Sync): boolean
---@return spec.Sync?
function Model:find(fits)
  for _, sync in ipairs(self.syncs) do
    if fits(sync) then
      return sync
    end
  end
end

return Model
