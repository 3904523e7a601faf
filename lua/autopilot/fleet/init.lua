--- Many tenants, one process, one truthful report for each of them.
--
-- A fleet reads its tenants one by one, gives each a client of its own, and runs the operation for as
-- many at a time as it may. Who waits for an answer, a cooldown or a Retry-After costs memory and nothing
-- else. How tenants take turns is in `fleet.loop`, who may send is in `fleet.gate`.

local Gates = require "autopilot.fleet.gate"
local Loop = require "autopilot.fleet.loop"
local Ledger = require "autopilot.fleet.ledger"
local RetryShare = require "autopilot.fleet.retry_share"
local Roster = require "autopilot.fleet.roster"
local Wire = require "autopilot.fleet.wire"
local endings = require "autopilot.fleet.endings"
local options = require "autopilot.base.options"
local own_report = require "autopilot.fleet.own_report"
local protected_call = require "autopilot.base.protected_call"
local retry = require "autopilot.retry"
local settings = require "autopilot.fleet.settings"
local tenant_sleep = require "autopilot.fleet.tenant_sleep"
local tenant_task = require "autopilot.fleet.tenant_task"

local name = "autopilot.fleet"

--- Only who keeps a state in a file needs it, and what it brings along.
local function state_file()
  return require "autopilot.fleet.state_file"
end

-- Seconds that requests which were sent may take to end after a cancellation, unless it says.
local default_grace = 10

-- Seconds after which a source that knew of no tenant is asked again.
local between_questions = 0.05

---@class autopilot.Fleet
---@field summary autopilot.fleet.Summary? of the last run that has ended
local Fleet = {}
Fleet.__index = Fleet

---@class autopilot.fleet.Progress
---@field total integer? nil when only the iterator knows
---@field done integer reports so far
---@field failed integer
---@field in_flight integer requests under way
---@field asleep integer tenants that wait for a time to come

local function step(set, seconds)
  set:step(seconds)
end

--- Raises when all tenants are to have the one ready token: it is of one tenant. Their number is known of
-- a list only.
local function refuse_one_token(checked, level)
  local client, tenants = checked.client, checked.tenants
  local has_token = type(client) == "table" and type(rawget(client, "token")) == "string"
  local is_list = type(tenants) == "table" and not (getmetatable(tenants) or {}).__call
  if has_token and not (is_list and #tenants < 2) then
    local message = "%s: option 'client.token' is the token of one tenant, and there are "
      .. "several: give a token provider, or a function 'client' with a token for each"
    error(message:format(name), level + 1)
  end
end

--- The policy of all who have none of their own, and the budget that learns from successes.
local function shared_policy(checked)
  local budget = checked.retry_budget
  if budget == false then
    return nil
  end
  -- Enough for everybody who is under way to be throttled twice.
  local own = type(budget) ~= "table" and RetryShare.new(math.max(20, 2 * checked.concurrency))
  return retry.policy { budget = own or budget }, own or nil
end

--- A fleet. Nothing is asked or read yet.
---@param given autopilot.FleetOptions
---@param level integer? for presets: whose line a mistake is told at, as for `error`; default 2
---@return autopilot.Fleet? fleet nil when the state file cannot be used
---@return string? message
local function new(given, level)
  local checked = options.check(name, settings.rules, given, level)
  refuse_one_token(checked, level or 2)
  local policy, share = shared_policy(checked)
  local self = setmetatable({
    options = checked,
    clock = checked.clock,
    now = checked.now,
    operation_name = type(checked.operation) == "string" and checked.operation or "operation",
    policy = policy,
    tasks = {},
    -- A wrapper has its key in it, which in Lua 5.1 a weak key alone would keep for ever.
    wrappers = setmetatable({}, { __mode = "kv" }),
    ledger = Ledger.new(),
    is_running = false,
  }, Fleet)
  self.loop = Loop.new {
    perform = function(task)
      return tenant_task.perform(self, task)
    end,
    failed = function(task, message)
      endings.fail(self, task, message)
    end,
    clock = checked.clock,
    sleep = checked.sleep,
    wait = checked.wait or step,
  }
  self.gates = Gates.new {
    loop = self.loop,
    clock = checked.clock,
    most = checked.concurrency,
    most_for_a_host = checked.host_concurrency or checked.concurrency,
    retry_share = share,
    tell = function(event_type, event)
      self:emit(event_type, event)
    end,
  }
  self.wire = Wire.new {
    loop = self.loop,
    gates = self.gates,
    clock = checked.clock,
    now = checked.now,
    concurrency = checked.concurrency,
  }
  self.sleep = tenant_sleep(self)
  if type(checked.state) == "string" then
    self.state_file, checked.state = checked.state, nil
    local opened, message = state_file().open(self)
    if not opened then
      return nil, message
    end
  end
  return self
end

--- Tells the observer, whose errors are its own.
---@package
function Fleet:emit(event_type, event)
  if self.options.on_event then
    event.type = event_type
    protected_call(self.options.on_event, event)
  end
end

--- Somebody's own HTTP layer, made to wait its turn.
---@package
function Fleet:wrapped(transport)
  local wrapper = self.wrappers[transport]
  if not wrapper then
    wrapper = self.wire:wrap(transport)
    self.wrappers[transport] = wrapper
  end
  return wrapper
end

--- The time for everything to have ended is over: see `call_at`.
---@package
function Fleet:due()
  local must_end = self.give_up_at and self.clock() >= self.give_up_at
  if self.is_running and must_end then
    endings.give_up_all(self)
  end
end

local function end_at(self, moment)
  if not self.give_up_at or moment < self.give_up_at then
    self.give_up_at = moment
    self.loop:call_at(moment, self)
  end
end

local function begin_with(self, tenant)
  local id, key = Roster.identify(tenant)
  -- All fields that it will have, so that the table is made in its final size.
  local task = {
    tenant = tenant,
    id = id,
    key = key,
    began = self.clock(),
    ticket = 0,
    is_asleep = false,
    has_posted = false,
    knows_deadline = false,
    thread = nil,
    client = nil,
    token = nil,
    gate = nil,
    transfer = nil,
    deadline = nil,
  }
  self.tasks[task] = true
  if not id then
    local message = "a tenant must be an id or a domain, or a table with it in 'tenant'"
    return endings.deliver(self, task, own_report.of_mistake(task, self.operation_name, message, 0))
  end
  local state = self.options.state
  local is_fine, known, unread = true, nil, nil
  if state then
    is_fine, known, unread = protected_call(state.known, state, key)
  end
  if not is_fine then
    return endings.deliver(self, task, own_report.of_mistake(task, self.operation_name, known, 0))
  elseif known then
    self.tasks[task] = nil
    self.ledger.known = self.ledger.known + 1
    return self.ledger:add(tenant, known)
  elseif type(unread) == "string" then
    return endings.deliver(self, task, own_report.state_unread(id, self.operation_name, unread))
  elseif self.deadline and task.began >= self.deadline then
    return endings.deliver(self, task, own_report.not_begun(id, self.operation_name, "DEADLINE"))
  elseif self.is_cancelled then
    return endings.deliver(self, task, own_report.not_begun(id, self.operation_name, "CANCELLED"))
  end
  self.loop:begin(task)
end

-- So many tenants are begun with before their requests go out: the server can work on them meanwhile.
local at_once = 100

--- Begins with as many tenants as there is room for.
local function begin_more(self)
  local gates, most = self.gates, self.options.concurrency
  local is_late = self.is_cancelled or (self.deadline and self.clock() >= self.deadline)
  local begun = 0
  while self.ledger:is_empty() and gates.under_way < most and gates.waiting < most do
    local tenant = self.roster:take(self.clock(), is_late)
    if tenant == nil then
      if is_late and self.roster.is_pending then
        self.roster:close() -- whoever it may still tell of is not waited for
      end
      return
    end
    begin_with(self, tenant)
    begun = begun + 1
    if begun % at_once == 0 then
      self.loop:send()
    end
  end
end

local function has_ended(self)
  return self.roster:has_ended() and next(self.tasks) == nil
end

local function settle_state(self)
  local state = self.options.state
  if state and state.flush then
    protected_call(state.flush, state)
  end
  if self.state_file then
    local is_late = self.deadline and self.clock() >= self.deadline
    local is_complete = not (self.is_cancelled or is_late or self.roster.failure)
    local lost = state_file().close(self, is_complete)
    if lost then
      self:emit("state_error", { message = lost })
    end
  end
end

local function finish(self)
  self.is_running = false
  self.summary = self.ledger:sum_up(self.clock() - self.began)
  settle_state(self)
  if self.roster.failure then
    error(self.roster.failure.message, 0)
  end
end

--- When there may be another tenant to begin with, without anything else that happens; or nil.
local function next_look(self)
  local roster, clock = self.roster, self.clock()
  local start = roster:next_start()
  if roster.is_pending then
    return math.min(start or math.huge, clock + between_questions)
  end
  -- Who is due already waits for a place, and not for a moment.
  return start and start > clock and start or nil
end

--- The next report; nil when there is none any more.
local function next_report(self)
  local ledger = self.ledger
  while ledger:is_empty() do
    if not self.is_running then
      return nil
    end
    self.loop:step()
    begin_more(self)
    if ledger:is_empty() then
      if has_ended(self) then
        finish(self)
        return nil
      end
      self.loop:wait(next_look(self))
    end
  end
  return ledger:take()
end

local run_rules = { on_report = { type = "function" } }

local function begin_run(self)
  self.is_running, self.is_cancelled = true, false
  self.wire:begin()
  self.began, self.give_up_at = self.clock(), nil
  self.deadline = self.options.deadline and self.began + self.options.deadline
  self.roster = Roster.new(self.options.tenants, self.options.spread, self.began)
  self.ledger = Ledger.new()
  if self.deadline then
    end_at(self, self.deadline + 1) -- requests end by the deadline themselves
  end
end

--- Runs the operation for all tenants. Without `on_report` it returns an iterator over tenants, as they
-- were given, and their reports; `fleet.summary` is there afterwards. With it, it returns the summary.
-- An error that the source of the tenants raises is raised when everybody begun with has a report.
---@param given { on_report: fun(tenant: autopilot.fleet.Tenant, report: autopilot.Report) }?
---@return autopilot.fleet.Summary|fun(): autopilot.fleet.Tenant?, autopilot.Report?|nil
---@return string? message when the state file cannot be used any more
function Fleet:run(given)
  local checked = options.check("fleet:run", run_rules, given)
  if self.is_running then
    error("fleet:run: it is running already", 2)
  end
  if self.state_file then
    local opened, message = state_file().open(self)
    if not opened then
      return nil, message
    end
  end
  begin_run(self)
  if not checked.on_report then
    return function()
      return next_report(self)
    end
  end
  local tenant, report = next_report(self)
  while report do -- no `for`, through which plain Lua 5.1 cannot yield
    if not protected_call(checked.on_report, tenant, report) then
      self.ledger.callback_errors = self.ledger.callback_errors + 1
    end
    tenant, report = next_report(self)
  end
  return self.summary
end

--- Ends a run early: what was sent is awaited and reported, nothing new is asked, and tenants that
-- were not read yet have no report, unless that is wanted. Go on iterating to get the reports.
---@param grace number? seconds that requests under way may still take; default 10
---@param is_rest_read boolean? read the rest of the tenants, which must have an end, and report them too
function Fleet:cancel(grace, is_rest_read)
  if not self.is_running or self.is_cancelled then
    return
  end
  self.is_cancelled, self.wire.is_cancelled = true, true
  if not is_rest_read then
    self.roster:close()
  end
  for task in pairs(self.tasks) do
    if task.client then
      task.client:close() -- its loops end
    end
    self.loop:wake(task)
  end
  end_at(self, self.clock() + (grace or default_grace))
end

--- How far the run is.
---@return autopilot.fleet.Progress
function Fleet:progress()
  return {
    total = self.roster and self.roster.total,
    done = self.ledger.total,
    failed = self.ledger.failed,
    in_flight = self.gates.under_way,
    asleep = self.loop.asleep + (self.roster and self.roster:waiting() or 0),
  }
end

--- Closes all connections. What is in flight is given up, without a report, and the run has ended.
function Fleet:close()
  self.wire:close()
  self.is_running = false
  for task in pairs(self.tasks) do
    self.loop:abandon(task)
    self.gates:leave(task)
  end
  self.tasks = {}
  if self.state_file then
    state_file().close(self, false)
  end
end

Fleet.__close = Fleet.close

return new
