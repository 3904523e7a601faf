--- Retry policies, budgets and a loop, usable for anything and without the rest of the library.
--
-- The parts are pure: a policy decides, a budget counts, and only `run` waits, with the sleep it is
-- given. Which attempt is safe to repeat is for the one who knows what it does: see option `on`.

local budget = require "autopilot.retry.budget"
local condition = require "autopilot.retry.condition"
local dates = require "autopilot.base.dates"
local policy = require "autopilot.retry.policy"
local run = require "autopilot.retry.run"

local retry = {}

--- A policy of the caller's own; without options the one that `autopilot.client` uses.
---@param given autopilot.RetryPolicyOptions?
---@return autopilot.RetryPolicy
function retry.policy(given)
  local made = policy.new("autopilot.retry.policy", given, { options = {} }, 2)
  return made
end

--- One attempt, whatever comes of it.
---@return autopilot.RetryPolicy
function retry.never()
  local made = policy.new("autopilot.retry.never", nil, { options = { attempts = 1 } }, 2)
  return made
end

local graph_statuses = { [429] = true, [503] = true, [504] = true }
local graph_outcomes = { throttled = true, cooldown = true, unavailable = true }

local function is_retried_by_graph_sdks(report)
  if condition.is_harmless(report) then
    return true
  elseif type(report) ~= "table" or not graph_outcomes[report.outcome] then
    return false
  end
  return report.status == nil or graph_statuses[report.status] == true
end

--- What the Microsoft Graph SDKs do (the retry handlers of msgraph-sdk-design and Kiota): at most
-- three retries after 3, 6 and 12 s, of the statuses 429, 503 and 504 only. A Retry-After is
-- honoured; above 180 s, where some of them shorten it, the attempts end. For this action that is
-- mostly futile: all tries fall within half a minute of a cooldown that lasts ten. The SDKs add at
-- most a second of chance; `jitter` is for whoever has many clients.
---@param given autopilot.RetryPolicyOptions? what is to differ
---@return autopilot.RetryPolicy
function retry.graph(given)
  local made = policy.new("autopilot.retry.graph", given, {
    options = { attempts = 4, base = 3, cap = 180, jitter = "none", max_retry_after = 180 },
    is_retried = is_retried_by_graph_sdks,
  }, 2)
  return made
end

-- The service's interval between two syncs and a margin, the defaults of the client. A sync in
-- progress is waited for as long: it was triggered within the interval, so a request that came
-- sooner would be refused for that, and asking in vain is not known to be free.
local interval = 600 + 10
local patient_outcomes = {
  unreachable = true,
  unavailable = true,
  throttled = true,
  in_progress = true,
  cooldown = true,
}

local function is_retried_by_the_patient(report)
  return type(report) == "table"
    and (patient_outcomes[report.outcome] == true or condition.is_harmless(report))
end

--- For scripts that may take their time: also waits out a sync in progress and the cooldown, for as
-- long as the report says (`retry_after`), else for the whole interval. Gives up after an hour.
---@param given autopilot.RetryPolicyOptions? what is to differ
---@return autopilot.RetryPolicy
function retry.patient(given)
  local made = policy.new("autopilot.retry.patient", given, {
    options = { attempts = 10, cap = 60, max_elapsed = 3600, max_retry_after = 3600 },
    is_retried = is_retried_by_the_patient,
    assumed_waits = { in_progress = interval, cooldown = interval },
  }, 2)
  return made
end

--- A token bucket that many clients share: `capacity` retries at once, then `refill` a second.
---@param given {capacity: number, refill: number} tokens, at least 1; tokens a second, at least 0
---@return autopilot.RetryBudget
function retry.budget(given)
  local made = budget.new(given, 2)
  return made
end

--- Calls a function until it succeeds or the policy has enough: see `autopilot.retry.run`.
retry.run = run

--- Reads a Retry-After header: seconds (fractions too) or an HTTP-date.
---@param text string? nil, for a header that did not come, gives nil
---@param now number? Unix seconds, for a date; default the system's clock
---@return number? seconds at least 0; nil when the text is neither
retry.parse_retry_after = dates.read_retry_after

return retry
