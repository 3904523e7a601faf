--- Keeps the tenants fresh: a timer in one worker looks at all of them, as a fleet, and starts again.
--
-- Looks never overlap: the next one is planned when the last has ended, and a claim in the store keeps apart
-- the old and the new workers of a reload, and the hosts of one portal. The claim expires, so that a
-- worker that was killed in the middle of a look does not stop the others for long. Without a store that
-- works nothing keeps looks apart, which is harmless: `ensure` asks only for what is not fresh.

local autopilot = require "autopilot.openresty"
local clients = require "portal.clients"
local metrics = require "portal.metrics"
local settings = require "portal.settings"
local tenants = require "portal.tenants"

local keep_fresh = {}

local claim_key = "portal: keep fresh"
-- Seconds that one tenant may take. The claim is renewed before a tenant is begun, but not more often than
-- `between_renewals`, and lasts until that tenant has ended.
local patience, claim_lifetime, between_renewals = 50, 60, 0.5

---@class portal.Look
---@field claim string the value that the claim has while it is this look's
---@field renewed_at number
---@field has_complained boolean?

--- Logs, once a look, that the store has failed.
---@param look portal.Look
---@param message string?
local function complain_of(look, message)
  if message and not look.has_complained then
    look.has_complained = true
    ngx.log(ngx.WARN, "keep fresh: the store failed: ", message)
  end
end

---@return portal.Look? look nil: another look is under way
local function begin_look()
  local claim = ("%d %s %s"):format(ngx.worker.pid(), ngx.now(), tostring {})
  local look = { claim = claim, renewed_at = ngx.now() }
  local _, message = settings.store:add(claim_key, claim, claim_lifetime)
  if message == "exists" then
    return nil
  end
  complain_of(look, message)
  return look
end

--- Renews the claim; false when it has become another look's.
local function holds_claim(look)
  local now, store = ngx.now(), settings.store
  if now - look.renewed_at < between_renewals then
    return true
  end
  local holder, failure = store:get(claim_key)
  complain_of(look, failure)
  if holder and holder ~= look.claim then
    return false
  end
  complain_of(look, select(2, store:set(claim_key, look.claim, claim_lifetime)))
  look.renewed_at = now
  return true
end

--- The tenants of a look that are not settled, for its fleet, which takes the next one when it has room for it.
local function tenants_of(look)
  local index = 0
  return function()
    -- A reload waits for its old workers: this one leaves the rest to the next.
    if ngx.worker.exiting() or not holds_claim(look) then
      return nil
    end
    local tenant
    repeat
      index = index + 1
      tenant = settings.tenants[index]
    until not tenant or not tenants.is_settled(tenant)
    return tenant
  end
end

local fleet, current -- one fleet for all looks: it keeps its connections

--- One pass over each tenant, without sleep or retry: the next look comes soon enough.
local function fleet_of_looks()
  fleet = fleet
    or autopilot.fleet {
      tenants = function()
        return tenants_of(current)
      end,
      client = clients.options_of,
      operation = "ensure",
      arguments = { max_age = settings.max_age, wait = false, timeout = patience },
      concurrency = settings.concurrency,
      on_event = metrics.count_event,
    }
  return fleet
end

local function look_at_all()
  local look = begin_look()
  if not look then
    return
  end
  current = look
  for tenant, report in fleet_of_looks():run() do
    tenants.note(tenant, report)
  end
  complain_of(look, select(2, settings.store:delete_if(claim_key, look.claim)))
  metrics.note_look()
end

local plan -- forward: a look plans the next one

local function look_again(premature)
  if premature then
    return
  end
  local done, message = pcall(look_at_all)
  if not done then
    ngx.log(ngx.ERR, "keep fresh: ", message)
    if fleet then
      fleet:close()
      fleet = nil
    end
  end
  plan(settings.keep_fresh_every)
end

function plan(seconds)
  local planned, message = ngx.timer.at(seconds, look_again)
  if not planned and message ~= "process exiting" then
    ngx.log(ngx.ERR, "keep fresh has ended: no timer: ", message)
  end
end

--- Starts the timer in one worker. nginx replaces a worker that died by one with the same number.
function keep_fresh.start()
  if ngx.worker.id() == 0 and settings.keep_fresh_every > 0 and settings.tenants[1] then
    plan(0)
  end
end

return keep_fresh
